/* Print the detections in raw outputs that lie in two files.
 *
 *   main LOGITS OFFSETS WIDTH HEIGHT [SCORE_THRESHOLD [IOU_THRESHOLD]]
 *
 * LOGITS, OFFSETS: little-endian float32, or integers as edgessd_model.h describes them; the size of the file tells.
 * WIDTH, HEIGHT: of the picture in pixels. One line a detection: label, name, score, x1, y1, x2, y2, by tabs. */
#include "edgessd.h"

#include <stdio.h>
#include <stdlib.h>

static edgessd_workspace workspace;
static edgessd_detection found[EDGESSD_MAX_DETECTIONS];
static float logits_data[EDGESSD_PRIORS * EDGESSD_COLUMNS + 1], offsets_data[EDGESSD_PRIORS * 4 + 1];

/* Read a file of `count` values into `room`, and say of what kind they are. Returns 0 where it is not such a file. */
static int read_tensor(const char *path, float *room, size_t count, edgessd_tensor integers, edgessd_tensor *tensor)
{
    size_t width = integers.type == EDGESSD_INT16 ? 2 : 1;
    FILE *file = fopen(path, "rb");
    size_t size = 0;

    if (file) {
        size = fread(room, 1, count * 4 + 1, file);
        fclose(file);
    }
    *tensor = integers;
    if (size == count * 4) {
        tensor->type = EDGESSD_FLOAT32;
    } else if (integers.type == EDGESSD_FLOAT32 || size != count * width) {
        fprintf(stderr, "error: %s is no file of %lu values\n", path, (unsigned long)count);
        return 0;
    }
    tensor->data = room;
    return 1;
}

int main(int argc, char **argv)
{
    static const edgessd_tensor logits_kind = EDGESSD_LOGITS, offsets_kind = EDGESSD_OFFSETS;
    edgessd_thresholds thresholds = edgessd_defaults;
    edgessd_tensor logits, offsets;
    int32_t count, i;

    if (argc < 5 || argc > 7) {
        fprintf(stderr, "usage: %s LOGITS OFFSETS WIDTH HEIGHT [SCORE_THRESHOLD [IOU_THRESHOLD]]\n", argv[0]);
        return 2;
    }
    if (!read_tensor(argv[1], logits_data, (size_t)EDGESSD_PRIORS * EDGESSD_COLUMNS, logits_kind, &logits) ||
        !read_tensor(argv[2], offsets_data, (size_t)EDGESSD_PRIORS * 4, offsets_kind, &offsets))
        return 2;
    if (argc > 5)
        thresholds.score_threshold = atof(argv[5]);
    if (argc > 6)
        thresholds.iou_threshold = atof(argv[6]);
    count = edgessd_detect(&logits, &offsets, atoi(argv[3]), atoi(argv[4]), &thresholds, &workspace, found,
                           EDGESSD_MAX_DETECTIONS);
    if (count < 0) {
        fprintf(stderr, "error: width and height must be above 0, thresholds within 0 and 1\n");
        return 2;
    }
    for (i = 0; i < count; i++)
        printf("%ld\t%s\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n", (long)found[i].label, edgessd_class_names[found[i].label],
               (double)found[i].score, (double)found[i].x1, (double)found[i].y1, (double)found[i].x2,
               (double)found[i].y2);
    return 0;
}
