/* Decode and class-wise non-maximum suppression of an SSD detector, see edgessd.h. The arithmetic is that of edgessd's
 * Python, step by step in float32, so scores, order and boxes are the same. Compile without -ffast-math; gcc without
 * -std=c99 needs -ffp-contract=off where the processor has fused multiply-add. */
#include "edgessd.h"
#define EDGESSD_TABLES
#include "edgessd_model.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

typedef char capacity_holds_every_prior[EDGESSD_CAPACITY >= EDGESSD_PRIORS ? 1 : -1];

#define MAX_LOG_SIZE ((float)4.135166556742356) /* log(1000 / 16): a wild offset must not overflow exp() */
#define INSIDE_MARGIN 1e-6

/* exp() in double, rounded to float: the same number on every processor. */
static float exp_float(float x)
{
    return (float)exp((double)x);
}

static double clip(double x, double high)
{
    return x < 0 ? 0 : x > high ? high : x; /* NaN stays */
}

/* The prior (default box) `index`: center x, center y, width, height in units of the input. */
static void prior_box(int32_t index, int cut, float prior[4])
{
    const edgessd_level *level = edgessd_levels;
    const double *size;
    double center[2];
    int32_t axis, cell;

    while (index >= level->priors) {
        index -= level->priors;
        level++;
    }
    cell = index / level->boxes;
    size = edgessd_sizes[level->first_size + index % level->boxes];
    center[0] = (cell % level->columns + 0.5) * level->step_x;
    center[1] = (cell / level->columns + 0.5) * level->step_y;
    for (axis = 0; axis < 2; axis++) {
        double middle = center[axis], extent = size[axis];
        if (cut) {
            double low = clip(middle - extent / 2, 1), high = clip(middle + extent / 2, 1);
            middle = (low + high) / 2;
            extent = high - low;
        }
        prior[axis] = (float)middle;
        prior[2 + axis] = (float)extent;
    }
}

/* Whether a prior lies wholly inside the picture, before any clipping. */
static int is_inside(int32_t index)
{
    float prior[4];
    int axis;

    prior_box(index, 0, prior);
    for (axis = 0; axis < 2; axis++) {
        double middle = prior[axis], half = (double)prior[2 + axis] / 2;
        if (middle - half < -INSIDE_MARGIN || middle + half > 1 + INSIDE_MARGIN)
            return 0;
    }
    return 1;
}

/* Return `count` values from number `start` on; integers are written into `room` as real numbers. */
static const float *values(const edgessd_tensor *tensor, size_t start, int32_t count, float *room)
{
    int32_t i;

    if (tensor->type == EDGESSD_FLOAT32)
        return (const float *)tensor->data + start;
    for (i = 0; i < count; i++) {
        size_t at = start + (size_t)i;
        int32_t q = tensor->type == EDGESSD_INT8    ? ((const int8_t *)tensor->data)[at]
                    : tensor->type == EDGESSD_UINT8 ? ((const uint8_t *)tensor->data)[at]
                                                    : ((const int16_t *)tensor->data)[at];
        room[i] = (float)(q - tensor->zero_point) * tensor->scale;
    }
    return room;
}

/* Softmax of a row of logits, background first. Returns 0 where no class can exceed the threshold t, which means a
 * background below 1 - t, so a logit above that of the background + log(t / (1 - t)), and a sum below 1 / t. */
static int softmax(const float *logits, float bound, float threshold, float *scores)
{
    float best = logits[1], total;
    double sum = 0, most = 1.001 / (double)threshold; /* with room for rounding */
    int32_t i;

    for (i = 2; i < EDGESSD_COLUMNS; i++)
        if (logits[i] > best)
            best = logits[i];
    if (!(best > logits[0] + bound))
        return 0;
    if (logits[0] > best)
        best = logits[0];
    for (i = 0; i < EDGESSD_COLUMNS; i++) {
        sum += (double)(scores[i] = exp_float(logits[i] - best));
        if (sum > most)
            return 0;
    }
    total = (float)sum;
    for (i = 0; i < EDGESSD_COLUMNS; i++)
        scores[i] /= total;
    return 1;
}

static float sigmoid(float x)
{
    return 1 / (1 + exp_float(-(x < -80 ? -80 : x)));
}

/* Put the pairs of a prior and a label in first...last - 1 that exceed the threshold into the workspace, and return
 * their number; -1 where there is no room for all.
 * bound: of what is compared first, logits (sigmoid) or their distance from the background's (softmax); what counts
 * are the scores. */
static int32_t collect(const edgessd_tensor *logits, int32_t first, int32_t last, float bound, float threshold,
                       edgessd_workspace *work)
{
    int32_t prior, label, count = 0;

    for (prior = 0; prior < EDGESSD_PRIORS; prior++) {
        const float *row = values(logits, (size_t)prior * EDGESSD_COLUMNS, EDGESSD_COLUMNS, work->row);
        if (EDGESSD_SOFTMAX) {
            if (!softmax(row, bound, threshold, work->row))
                continue;
            row = work->row + 1;
        }
        for (label = first; label < last; label++) {
            float score = EDGESSD_SOFTMAX ? row[label] : row[label] > bound ? sigmoid(row[label]) : 0;
            if (!(score > threshold) || (EDGESSD_EXCLUDE_BOUNDARY && !is_inside(prior)))
                continue;
            if (count == EDGESSD_CAPACITY)
                return -1;
            work->candidates[count].index = prior * EDGESSD_CLASSES + label;
            work->candidates[count++].score = score;
        }
    }
    return count;
}

/* The order of candidates: by falling score, then by prior and label. */
static int before(edgessd_candidate a, edgessd_candidate b)
{
    return a.score > b.score || (a.score == b.score && a.index < b.index);
}

static edgessd_candidate candidate_of(const edgessd_detection *found)
{
    return (edgessd_candidate){found->score, found->prior * EDGESSD_CLASSES + found->label};
}

/* Let the candidate at `at` sink to its place in the heap, whose first is the best. */
static void sink(edgessd_candidate *heap, int32_t at, int32_t count)
{
    edgessd_candidate sinking = heap[at];
    int32_t child;

    for (; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(heap[child + 1], heap[child]))
            child++;
        if (before(sinking, heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = sinking;
}

/* Decode a box and cut it to the picture; returns 0 where nothing is left of it. */
static int decode(const edgessd_tensor *offsets, int32_t index, const float scale[2], const float size[2], float box[4])
{
    float room[4], prior[4];
    const float *offset = values(offsets, (size_t)index * 4, 4, room);
    int axis;

    prior_box(index, EDGESSD_CLIP, prior);
    for (axis = 0; axis < 2; axis++) {
        float shift = offset[axis] * (float)EDGESSD_CENTER_VARIANCE * prior[2 + axis];
        float center = prior[axis] + shift;
        float grow = offset[2 + axis] * (float)EDGESSD_SIZE_VARIANCE;
        float half = exp_float(grow > MAX_LOG_SIZE ? MAX_LOG_SIZE : grow) * prior[2 + axis] / 2;
        box[axis] = (float)clip((center - half) * scale[axis], size[axis]);
        box[2 + axis] = (float)clip((center + half) * scale[axis], size[axis]);
    }
    return box[2] > box[0] && box[3] > box[1];
}

static float overlap(const edgessd_detection *a, const float b[4])
{
    float x1 = a->x1 > b[0] ? a->x1 : b[0], y1 = a->y1 > b[1] ? a->y1 : b[1];
    float x2 = a->x2 < b[2] ? a->x2 : b[2], y2 = a->y2 < b[3] ? a->y2 : b[3];
    float width = x2 > x1 ? x2 - x1 : 0, height = y2 > y1 ? y2 - y1 : 0, shared = width * height;
    float first = (a->x2 - a->x1) * (a->y2 - a->y1), second = (b[2] - b[0]) * (b[3] - b[1]);
    float both = first + second - shared;
    return shared / (both > FLT_MIN ? both : FLT_MIN);
}

static int is_covered(const edgessd_detection *found, int32_t kept, int32_t label, const float box[4], float threshold)
{
    int32_t i;

    for (i = 0; i < kept; i++)
        if (found[i].label == label && overlap(&found[i], box) > threshold)
            return 1;
    return 0;
}

/* Factors from units of the input to pixels of the picture. */
static void source_scale(int32_t width, int32_t height, float scale[2])
{
    double content[2] = {EDGESSD_INPUT_WIDTH, EDGESSD_INPUT_HEIGHT};

    if (EDGESSD_LETTERBOX) {
        double x = content[0] / width, y = content[1] / height, ratio = x < y ? x : y;
        content[0] = rint(width * ratio);
        content[1] = rint(height * ratio);
    }
    scale[0] = (float)((double)EDGESSD_INPUT_WIDTH * width / (content[0] < 1 ? 1 : content[0]));
    scale[1] = (float)((double)EDGESSD_INPUT_HEIGHT * height / (content[1] < 1 ? 1 : content[1]));
}

/* Suppress the workspace's candidates, best first, and put what is kept in its place among the `kept` of other
 * labels; returns the new number. */
static int32_t suppress(const edgessd_tensor *offsets, const float scale[2], const float size[2], int32_t count,
                        const edgessd_thresholds *limits, edgessd_workspace *work, edgessd_detection *found,
                        int32_t kept, int32_t most)
{
    edgessd_candidate *heap = work->candidates;
    int32_t i;

    for (i = count / 2; i-- > 0;)
        sink(heap, i, count);
    while (count > 0) {
        edgessd_candidate best = heap[0];
        int32_t label = best.index % EDGESSD_CLASSES, prior = best.index / EDGESSD_CLASSES;
        float box[4];

        heap[0] = heap[--count];
        sink(heap, 0, count);
        if (kept == most && !before(best, candidate_of(found + most - 1)))
            break;
        if (work->seen[label] >= limits->max_candidates)
            continue;
        work->seen[label]++;
        if (!decode(offsets, prior, scale, size, box) ||
            is_covered(found, kept, label, box, (float)limits->iou_threshold))
            continue;
        kept += kept < most;
        for (i = kept - 1; i > 0 && before(best, candidate_of(found + i - 1)); i--)
            found[i] = found[i - 1];
        found[i] = (edgessd_detection){label, prior, best.score, box[0], box[1], box[2], box[3]};
    }
    return kept;
}

static int has_meaning(const edgessd_tensor *tensor)
{
    return tensor && tensor->data && (unsigned)tensor->type <= EDGESSD_INT16;
}

int32_t edgessd_detect(const edgessd_tensor *logits, const edgessd_tensor *offsets, int32_t width, int32_t height,
                       const edgessd_thresholds *thresholds, edgessd_workspace *workspace, edgessd_detection *found,
                       int32_t capacity)
{
    const edgessd_thresholds *limits = thresholds ? thresholds : &edgessd_defaults;
    double score = limits->score_threshold, low = score * (1 - 3e-7); /* room for rounding, here and in bound */
    float size[2] = {(float)width, (float)height}, scale[2];
    int32_t first, last, count, kept = 0, most = limits->max_detections < capacity ? limits->max_detections : capacity;
    double bound = low <= 0 ? -HUGE_VAL : log(low / (1 - low)) - 1e-3;

    if (!has_meaning(logits) || !has_meaning(offsets) || !workspace || !found || width < 1 || height < 1 ||
        !(score >= 0 && score <= 1) || !(limits->iou_threshold >= 0 && limits->iou_threshold <= 1) || most < 1 ||
        limits->max_candidates < 1)
        return -1;
    source_scale(width, height, scale);
    memset(workspace->seen, 0, sizeof workspace->seen);
    /* Classes do not suppress each other, so where the candidates of all do not fit, fewer are taken at a time. */
    for (first = 0, last = EDGESSD_CLASSES; first < EDGESSD_CLASSES;) {
        while ((count = collect(logits, first, last, (float)bound, (float)score, workspace)) < 0)
            last = first + (last - first + 1) / 2;
        kept = suppress(offsets, scale, size, count, limits, workspace, found, kept, most);
        count = last - first;
        first = last;
        last = EDGESSD_CLASSES - last < count ? EDGESSD_CLASSES : last + count;
    }
    return kept;
}
