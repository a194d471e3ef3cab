package edgessd;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * From the raw outputs of an SSD detector to detections: decode and class-wise non-maximum suppression.
 *
 * <p>Written by edgessd for one model, whose tables are in SsdModel. Needs nothing but Java 8. The arithmetic is that of
 * edgessd's Python, step by step in float, so scores, their order and the boxes are the same. One thread at a time may
 * use a decoder.
 */
public final class SsdDecoder {
    /** A detection; corners in pixels of the picture, {@code label} is an index into {@link SsdModel#CLASSES}. */
    public static final class Detection {
        public final int label;
        public final String name;
        public final float score;
        public final float x1;
        public final float y1;
        public final float x2;
        public final float y2;

        Detection(int label, float score, float[] box) {
            this.label = label;
            this.name = SsdModel.CLASSES[label];
            this.score = score;
            this.x1 = box[0];
            this.y1 = box[1];
            this.x2 = box[2];
            this.y2 = box[3];
        }

        @Override
        public String toString() {
            return label + "\t" + name + "\t" + score + "\t" + x1 + "\t" + y1 + "\t" + x2 + "\t" + y2;
        }
    }

    /** Scores above it are detections, 0...1. */
    public double scoreThreshold = SsdModel.SCORE_THRESHOLD;
    /** A box whose overlap (IoU) with a better one of its class is above it is dropped, 0...1. */
    public double iouThreshold = SsdModel.IOU_THRESHOLD;
    /** Most detections of one picture. */
    public int maxDetections = SsdModel.MAX_DETECTIONS;
    /** How many of the best priors of each class enter the suppression. */
    public int maxCandidates = SsdModel.MAX_CANDIDATES;

    private static final float MAX_LOG_SIZE = (float) Math.log(1000.0 / 16); // a wild offset must not overflow exp()
    private static final double INSIDE_MARGIN = 1e-6;
    private static final float[] PRIORS = priors(SsdModel.CLIP);
    private static final boolean[] TAKES_PART = takesPart();

    private float[] logitValues;
    private float[] offsetValues;
    private float[] scores = new float[1024];
    private int[] indices = new int[1024];
    private int count;

    /**
     * Return the detections of one picture, best first. Equal scores keep the order of the priors.
     *
     * @param logits [PRIORS][COLUMNS], what {@code TensorBuffer.readFloat()} of that output gives
     * @param offsets [PRIORS][4], the same of the other output
     * @param width of the picture before it was resized for the network, in pixels; boxes are cut to it
     * @param height its height
     * @throws IllegalArgumentException for arrays of another size, or a threshold or size without meaning
     */
    public List<Detection> detect(float[] logits, float[] offsets, int width, int height) {
        check(logits.length, offsets.length, width, height);
        collect(logits);
        long[] order = sorted();
        int[] seen = new int[SsdModel.CLASSES.length];
        float[] scale = sourceScale(width, height);
        float[] box = new float[4];
        List<Detection> found = new ArrayList<>();
        for (int i = 0; i < order.length && found.size() < maxDetections; i++) {
            int candidate = (int) order[i];
            int prior = indices[candidate] / seen.length;
            int label = indices[candidate] % seen.length;
            if (seen[label]++ >= maxCandidates) {
                continue;
            }
            decode(offsets, prior, scale, width, height, box);
            if (box[2] > box[0] && box[3] > box[1] && !isCovered(found, label, box)) {
                found.add(new Detection(label, scores[candidate], box));
            }
        }
        return found;
    }

    /**
     * The same of an int8 model: what {@code TensorBuffer.readInt8()} gives, by the file's scales and zero points.
     *
     * @throws IllegalStateException where the model's outputs are not integers of 8 bits
     */
    public List<Detection> detect(byte[] logits, byte[] offsets, int width, int height) {
        check(logits.length, offsets.length, width, height);
        logitValues = real(logits, SsdModel.LOGITS_TYPE, SsdModel.LOGITS_SCALE, SsdModel.LOGITS_ZERO_POINT, logitValues);
        offsetValues =
                real(offsets, SsdModel.OFFSETS_TYPE, SsdModel.OFFSETS_SCALE, SsdModel.OFFSETS_ZERO_POINT, offsetValues);
        return detect(logitValues, offsetValues, width, height);
    }

    private static float[] real(byte[] integers, String type, float scale, int zeroPoint, float[] room) {
        if (!type.equals("int8") && !type.equals("uint8")) {
            throw new IllegalStateException("the model's output is " + type + ", not int8: call readFloat()");
        }
        int mask = type.equals("uint8") ? 0xff : -1;
        float[] values = room != null ? room : new float[integers.length];
        for (int i = 0; i < integers.length; i++) {
            values[i] = ((integers[i] & mask) - zeroPoint) * scale;
        }
        return values;
    }

    private void check(int logits, int offsets, int width, int height) {
        int count = PRIORS.length / 4;
        if (logits != count * SsdModel.COLUMNS || offsets != count * 4) {
            throw new IllegalArgumentException(
                    logits + " logits and " + offsets + " offsets, the model has " + count * SsdModel.COLUMNS + " and "
                            + count * 4 + ": take care of the order of its outputs");
        }
        boolean fractions = scoreThreshold >= 0 && scoreThreshold <= 1 && iouThreshold >= 0 && iouThreshold <= 1;
        if (width < 1 || height < 1 || !fractions || maxDetections < 1 || maxCandidates < 1) {
            throw new IllegalArgumentException("sizes and counts must be above 0, thresholds within 0 and 1");
        }
    }

    /** exp() in double, rounded to float: the same number on every processor. */
    private static float exp(float x) {
        return (float) Math.exp(x);
    }

    /** Keep the pairs of prior and label whose score is above the threshold. */
    private void collect(float[] logits) {
        double low = scoreThreshold * (1 - 3e-7); // room for rounding, here and in bound: what counts are the scores
        float bound = low <= 0 ? Float.NEGATIVE_INFINITY : (float) (Math.log(low / (1 - low)) - 1e-3);
        count = 0;
        for (int prior = 0; prior < PRIORS.length / 4; prior++) {
            if (!TAKES_PART[prior]) {
                continue;
            }
            if (SsdModel.SOFTMAX) {
                collectSoftmax(logits, prior, bound);
            } else {
                collectSigmoid(logits, prior, bound);
            }
        }
    }

    private void collectSigmoid(float[] logits, int prior, float bound) {
        int start = prior * SsdModel.COLUMNS;
        for (int i = start; i < start + SsdModel.COLUMNS; i++) {
            if (logits[i] > bound) {
                float score = 1 / (1 + exp(-Math.max(logits[i], -80)));
                if (score > (float) scoreThreshold) {
                    add(score, i);
                }
            }
        }
    }

    /**
     * A score above t means a background below 1 - t, so a logit above that of the background + log(t / (1 - t)), and
     * a sum below 1 / t: exp() is only taken where both hold.
     */
    private void collectSoftmax(float[] logits, int prior, float bound) {
        int start = prior * SsdModel.COLUMNS;
        float best = logits[start + 1];
        for (int i = start + 2; i < start + SsdModel.COLUMNS; i++) {
            best = Math.max(best, logits[i]);
        }
        if (!(best > logits[start] + bound)) {
            return;
        }
        best = Math.max(best, logits[start]);
        double sum = 0;
        for (int i = start; i < start + SsdModel.COLUMNS; i++) {
            sum += exp(logits[i] - best);
            if (sum > 1.001 / (float) scoreThreshold) { // with room for rounding
                return;
            }
        }
        float total = (float) sum;
        int classes = SsdModel.CLASSES.length;
        for (int label = 0; label < classes; label++) {
            float score = exp(logits[start + 1 + label] - best) / total;
            if (score > (float) scoreThreshold) {
                add(score, prior * classes + label);
            }
        }
    }

    private void add(float score, int index) {
        if (count == scores.length) {
            scores = Arrays.copyOf(scores, 2 * count);
            indices = Arrays.copyOf(indices, 2 * count);
        }
        scores[count] = score;
        indices[count++] = index;
    }

    /** Candidates by falling score; equal ones in the order in which they were found. Scores are 0 or more. */
    private long[] sorted() {
        long[] order = new long[count];
        for (int i = 0; i < count; i++) {
            order[i] = (long) -Float.floatToIntBits(scores[i]) << 32 | i; // bits of floats sort as the floats do
        }
        Arrays.sort(order);
        return order;
    }

    private static void decode(float[] offsets, int prior, float[] scale, int width, int height, float[] box) {
        for (int axis = 0; axis < 2; axis++) {
            int at = 4 * prior + axis;
            float size = PRIORS[at + 2];
            float center = PRIORS[at] + offsets[at] * (float) SsdModel.CENTER_VARIANCE * size;
            float grow = Math.min(offsets[at + 2] * (float) SsdModel.SIZE_VARIANCE, MAX_LOG_SIZE);
            float half = exp(grow) * size / 2;
            float high = axis == 0 ? width : height;
            box[axis] = clip((center - half) * scale[axis], high);
            box[axis + 2] = clip((center + half) * scale[axis], high);
        }
    }

    private static float clip(float x, float high) {
        return x < 0 ? 0 : x > high ? high : x; // NaN stays
    }

    private boolean isCovered(List<Detection> found, int label, float[] box) {
        float area = (box[2] - box[0]) * (box[3] - box[1]);
        for (Detection kept : found) {
            if (kept.label != label) {
                continue;
            }
            float width = Math.max(Math.min(kept.x2, box[2]) - Math.max(kept.x1, box[0]), 0);
            float height = Math.max(Math.min(kept.y2, box[3]) - Math.max(kept.y1, box[1]), 0);
            float overlap = width * height;
            float union = (kept.x2 - kept.x1) * (kept.y2 - kept.y1) + area - overlap;
            if (overlap / Math.max(union, Float.MIN_NORMAL) > (float) iouThreshold) {
                return true;
            }
        }
        return false;
    }

    /** Factors from units of the input to pixels of the picture. */
    private static float[] sourceScale(int width, int height) {
        double contentWidth = SsdModel.INPUT_WIDTH;
        double contentHeight = SsdModel.INPUT_HEIGHT;
        if (SsdModel.LETTERBOX) {
            double ratio = Math.min(contentWidth / width, contentHeight / height);
            contentWidth = Math.max(1, Math.rint(width * ratio));
            contentHeight = Math.max(1, Math.rint(height * ratio));
        }
        return new float[] {
            (float) ((double) SsdModel.INPUT_WIDTH * width / contentWidth),
            (float) ((double) SsdModel.INPUT_HEIGHT * height / contentHeight)
        };
    }

    /** All priors (default boxes), [P][4]: center x, center y, width, height in units of the input. */
    private static float[] priors(boolean cut) {
        float[] table = new float[4 * SsdModel.PRIORS];
        int at = 0;
        for (SsdModel.Level level : SsdModel.levels()) {
            for (int cell = 0; cell < level.rows * level.columns; cell++) {
                double[] center = {
                    (cell % level.columns + 0.5) * level.stepX, (cell / level.columns + 0.5) * level.stepY
                };
                for (int size = 0; size < level.sizes.length; size += 2, at += 4) {
                    for (int axis = 0; axis < 2; axis++) {
                        double extent = level.sizes[size + axis];
                        double low = center[axis] - extent / 2;
                        double high = center[axis] + extent / 2;
                        if (cut) {
                            low = Math.min(Math.max(low, 0), 1);
                            high = Math.min(Math.max(high, 0), 1);
                        }
                        table[at + axis] = (float) (cut ? (low + high) / 2 : center[axis]);
                        table[at + 2 + axis] = (float) (cut ? high - low : extent);
                    }
                }
            }
        }
        return table;
    }

    /** Which priors take part: where the model leaves out those that cross the border, only those inside do. */
    private static boolean[] takesPart() {
        boolean[] inside = new boolean[SsdModel.PRIORS];
        Arrays.fill(inside, true);
        if (SsdModel.EXCLUDE_BOUNDARY) {
            float[] table = priors(false);
            for (int i = 0; i < 2 * inside.length; i++) {
                int at = i / 2 * 4 + i % 2;
                double half = (double) table[at + 2] / 2;
                inside[i / 2] &= table[at] - half >= -INSIDE_MARGIN && table[at] + half <= 1 + INSIDE_MARGIN;
            }
        }
        return inside;
    }
}
