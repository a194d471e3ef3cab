/* From the raw outputs of an SSD detector to detections: decode and class-wise non-maximum suppression.
 *
 * Written by edgessd for one model, whose sizes and tables are in edgessd_model.h. C99, no dynamic allocation. */
#ifndef EDGESSD_H
#define EDGESSD_H

#include <stdint.h>

#include "edgessd_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Candidates that are looked at in one pass; 8 bytes each. More passes are made where more exceed the threshold, so
 * it changes the time and never the result. At least EDGESSD_PRIORS. */
#ifndef EDGESSD_CAPACITY
#define EDGESSD_CAPACITY EDGESSD_PRIORS
#endif

typedef enum { EDGESSD_FLOAT32, EDGESSD_INT8, EDGESSD_UINT8, EDGESSD_INT16 } edgessd_type;

/* An output of the network. Integers q stand for (q - zero_point) * scale; float32 needs neither.
 * logits: [EDGESSD_PRIORS][EDGESSD_COLUMNS], offsets: [EDGESSD_PRIORS][4]. */
typedef struct {
    const void *data;
    edgessd_type type;
    float scale;
    int32_t zero_point;
} edgessd_tensor;

/* max_candidates: how many of the best priors of each class enter the suppression. */
typedef struct {
    double score_threshold;
    double iou_threshold;
    int32_t max_detections;
    int32_t max_candidates;
} edgessd_thresholds;

/* Corners in pixels of the picture. label: index into edgessd_class_names. prior: the one that the box came from. */
typedef struct {
    int32_t label;
    int32_t prior;
    float score;
    float x1, y1, x2, y2;
} edgessd_detection;

/* A score above the threshold; index: of the prior * EDGESSD_CLASSES + label. */
typedef struct {
    float score;
    int32_t index;
} edgessd_candidate;

/* What edgessd_detect needs in between; nothing in it outlives the call. */
typedef struct {
    edgessd_candidate candidates[EDGESSD_CAPACITY];
    int32_t seen[EDGESSD_CLASSES];
    float row[EDGESSD_COLUMNS];
} edgessd_workspace;

extern const char *const edgessd_class_names[EDGESSD_CLASSES]; /* UTF-8 */
extern const edgessd_thresholds edgessd_defaults;

/* Write the detections of one picture into `found`, best first, and return their number: at most `capacity` and at
 * most max_detections. Equal scores keep the order of the priors.
 *
 * width, height: of the picture before it was resized for the network, in pixels; boxes are cut to it.
 * thresholds: NULL takes edgessd_defaults. Threads need a workspace each.
 * Returns -1 where an argument has no meaning. Outputs that are not finite make no detection. */
int32_t edgessd_detect(const edgessd_tensor *logits, const edgessd_tensor *offsets, int32_t width, int32_t height,
                       const edgessd_thresholds *thresholds, edgessd_workspace *workspace, edgessd_detection *found,
                       int32_t capacity);

#ifdef __cplusplus
}
#endif

#endif
