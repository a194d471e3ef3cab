import edgessd.SsdDecoder;
import edgessd.SsdModel;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** Reads cases from stdin and writes what SsdDecoder finds to stdout, all little-endian; cases.py has the layout. */
public final class Cases {
    private static ByteBuffer take(DataInputStream in, int size) throws IOException {
        byte[] data = new byte[size];
        in.readFully(data);
        return ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static float[] floats(DataInputStream in, int count) throws IOException {
        float[] values = new float[count];
        take(in, 4 * count).asFloatBuffer().get(values);
        return values;
    }

    public static void main(String[] arguments) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 20));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 20));
        SsdDecoder decoder = new SsdDecoder();
        int logits = SsdModel.PRIORS * SsdModel.COLUMNS;
        int offsets = SsdModel.PRIORS * 4;
        while (true) {
            ByteBuffer head;
            try {
                head = take(in, 56);
            } catch (EOFException end) {
                break;
            }
            int width = head.getInt(4);
            int height = head.getInt(8);
            decoder.maxDetections = head.getInt(12);
            decoder.maxCandidates = head.getInt(16);
            decoder.scoreThreshold = head.getDouble(40);
            decoder.iouThreshold = head.getDouble(48);
            List<SsdDecoder.Detection> found;
            if (head.getInt(0) == 0) {
                found = decoder.detect(floats(in, logits), floats(in, offsets), width, height);
            } else { // by the scales of SsdModel
                found = decoder.detect(take(in, logits).array(), take(in, offsets).array(), width, height);
            }
            ByteBuffer answer = ByteBuffer.allocate(4 + 24 * found.size()).order(ByteOrder.LITTLE_ENDIAN);
            answer.putInt(found.size());
            for (SsdDecoder.Detection each : found) {
                answer.putInt(each.label).putFloat(each.score);
                answer.putFloat(each.x1).putFloat(each.y1).putFloat(each.x2).putFloat(each.y2);
            }
            out.write(answer.array());
        }
        out.flush();
    }
}
