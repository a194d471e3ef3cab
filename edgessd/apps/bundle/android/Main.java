package edgessd;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Paths;

/**
 * Print the detections in raw outputs that lie in two files; to try the decoder on a computer.
 *
 * <p>{@code java edgessd.Main LOGITS OFFSETS WIDTH HEIGHT}: little-endian float32, or int8 where the model's outputs are.
 */
final class Main {
    private Main() {}

    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 4) {
            System.err.println("usage: java edgessd.Main LOGITS OFFSETS WIDTH HEIGHT");
            System.exit(2);
        }
        byte[] logits = Files.readAllBytes(Paths.get(arguments[0]));
        byte[] offsets = Files.readAllBytes(Paths.get(arguments[1]));
        int width = Integer.parseInt(arguments[2]);
        int height = Integer.parseInt(arguments[3]);
        SsdDecoder decoder = new SsdDecoder();
        boolean integers = offsets.length == 4 * SsdModel.PRIORS;
        for (SsdDecoder.Detection each : integers
                ? decoder.detect(logits, offsets, width, height)
                : decoder.detect(floats(logits), floats(offsets), width, height)) {
            System.out.println(each);
        }
    }

    private static float[] floats(byte[] data) {
        float[] values = new float[data.length / 4];
        ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return values;
    }
}
