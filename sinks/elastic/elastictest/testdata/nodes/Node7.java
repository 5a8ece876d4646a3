import java.util.List;
import java.util.Map;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.reindex.ReindexPlugin;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.transport.Netty4Plugin;

/** Runs Elasticsearch 7 from the jars of its libraries: Node7 HOME PORT. */
public class Node7 extends Node {
    Node7(Environment environment) {
        super(environment, List.of(Netty4Plugin.class, ReindexPlugin.class), false);
    }

    public static void main(String[] args) throws Exception {
        Settings settings = Settings.builder()
            .put("path.home", args[0]).put("path.data", args[0] + "/data").put("path.logs", args[0] + "/logs")
            .put("http.port", args[1]).put("transport.port", "0").put("network.host", "127.0.0.1")
            .put("http.type", "netty4").put("transport.type", "netty4")
            .put("node.name", "es7").put("discovery.type", "single-node").build();
        Node node = new Node7(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "es7"));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { try { node.close(); } catch (Exception e) { e.printStackTrace(); } }));
        node.start();
        Thread.currentThread().join();
    }
}
