/* Reads cases from stdin and writes what edgessd_detect finds to stdout, all little-endian; cases.py has the layout. */
#include "edgessd.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    int32_t type, width, height, max_detections, max_candidates, logits_zero_point, offsets_zero_point;
    float logits_scale, offsets_scale;
    float padding;
    double score_threshold, iou_threshold;
} header;

#define MOST 1000

static edgessd_workspace workspace;
static edgessd_detection found[MOST];

/* Memory of exactly this size, so that a sanitizer sees every step beyond it. */
static void *take(size_t size)
{
    void *data = malloc(size);
    if (!data || fread(data, 1, size, stdin) != size)
        exit(3);
    return data;
}

int main(void)
{
    static const size_t widths[] = {4, 1, 1, 2};
    header head;

    while (fread(&head, sizeof head, 1, stdin) == 1) {
        edgessd_type type = (edgessd_type)head.type;
        size_t width = widths[head.type];
        edgessd_tensor logits = {0, type, head.logits_scale, head.logits_zero_point};
        edgessd_tensor offsets = {0, type, head.offsets_scale, head.offsets_zero_point};
        edgessd_thresholds limits = {head.score_threshold, head.iou_threshold, head.max_detections,
                                     head.max_candidates};
        void *first = take(width * EDGESSD_PRIORS * EDGESSD_COLUMNS), *second = take(width * EDGESSD_PRIORS * 4);
        int32_t count, i;

        logits.data = first;
        offsets.data = second;
        count = edgessd_detect(&logits, &offsets, head.width, head.height, &limits, &workspace, found, MOST);
        fwrite(&count, sizeof count, 1, stdout);
        for (i = 0; i < count; i++) {
            fwrite(&found[i].label, sizeof(int32_t), 1, stdout);
            fwrite(&found[i].score, sizeof(float), 5, stdout);
        }
        free(first);
        free(second);
    }
    return 0;
}
