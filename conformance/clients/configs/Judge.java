import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import kafka.server.BrokerDynamicThreadPool;
import kafka.server.DynamicBrokerConfig;
import kafka.server.DynamicListenerConfig;
import kafka.server.DynamicLogConfig;
import kafka.server.DynamicRemoteLogConfig;
import kafka.server.KafkaBroker;
import kafka.server.KafkaConfig;
import kafka.server.ConfigAdminManager;
import kafka.server.ControllerConfigurationValidator;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.requests.ApiError;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.metadata.ConfigRepository;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.DynamicProducerStateManagerConfig;
import org.apache.kafka.server.config.QuotaConfig;
import org.apache.kafka.server.metrics.ClientMetricsConfigs;
import org.apache.kafka.storage.internals.log.CleanerConfig;
import org.apache.kafka.storage.internals.log.LogCleaner;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;

/**
 * Builds Apache Kafka's own configuration objects of what it is asked, and says what came of it.
 *
 * One line of JSON in, one out: {"scope": "describe"}, or {"scope": S, "given": {name: value, ...}}
 * where S is start (a server.properties), topic, broker (of one broker), brokers (the default of all),
 * group or metrics. The answer: {"code": error code, "why": text, "shown": {name: value, ...}}.
 */
public class Judge {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Map<String, String> BASE = Map.of(
        "process.roles", "broker,controller",
        "node.id", "1",
        "listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
        "controller.listener.names", "CONTROLLER",
        "controller.quorum.bootstrap.servers", "127.0.0.1:9093",
        "log.dirs", "/tmp/judged");

    static KafkaConfig started(Map<String, String> given) {
        Map<String, String> all = new HashMap<>(BASE);
        all.putAll(given);
        Properties props = new Properties();
        props.putAll(all);
        return KafkaConfig.fromProps(props, false);
    }

    static Map<String, String> given(JsonNode asked) {
        Map<String, String> given = new TreeMap<>();
        asked.get("given").properties().forEach(it -> given.put(it.getKey(), it.getValue().asText()));
        return given;
    }

    static void shown(ObjectNode out, Map<String, String> given, ConfigDef def, Map<String, ?> values) {
        ObjectNode shown = out.putObject("shown");
        for (String name : given.keySet()) {
            ConfigDef.ConfigKey key = def.configKeys().get(name);
            if (key != null) shown.put(name, ConfigDef.convertToString(values.get(name), key.type));
        }
    }

    static KafkaBroker broker(KafkaConfig config) {
        return (KafkaBroker) Proxy.newProxyInstance(Judge.class.getClassLoader(), new Class<?>[] {KafkaBroker.class},
            (self, method, args) -> {
                if (method.getName().equals("config")) return config;
                throw new UnsupportedOperationException(method.getName());
            });
    }

    /** A running broker's settings, with everything that has a say in a change of them. */
    static ConfigAdminManager admin() {
        KafkaConfig config = started(Map.of());
        DynamicBrokerConfig dynamic = config.dynamicConfig();
        dynamic.initialize(scala.Option.empty());
        KafkaBroker broker = broker(config);
        dynamic.addBrokerReconfigurable(new BrokerDynamicThreadPool(broker));
        dynamic.addBrokerReconfigurable(new DynamicLogConfig(null, null));
        dynamic.addBrokerReconfigurable(new DynamicListenerConfig(broker));
        dynamic.addBrokerReconfigurable(new DynamicProducerStateManagerConfig(new ProducerStateManagerConfig(86400000, false)));
        dynamic.addBrokerReconfigurable(new DynamicRemoteLogConfig(broker));
        dynamic.addBrokerReconfigurable(new LogCleaner(
            new CleanerConfig(config), java.util.List.of(), new java.util.concurrent.ConcurrentHashMap<>(),
            new LogDirFailureChannel(1), Time.SYSTEM));
        return new ConfigAdminManager(1, config, new ConfigRepository() {
            @Override public Properties config(ConfigResource resource) { return new Properties(); }
        });
    }

    static ApiError altered(ConfigAdminManager admin, String name, Map<String, String> given) {
        var configs = new IncrementalAlterConfigsRequestData.AlterableConfigCollection();
        given.forEach((key, value) -> configs.add(new IncrementalAlterConfigsRequestData.AlterableConfig()
            .setName(key).setValue(value).setConfigOperation((byte) 0)));
        var resource = new IncrementalAlterConfigsRequestData.AlterConfigsResource()
            .setResourceType(ConfigResource.Type.BROKER.id()).setResourceName(name).setConfigs(configs);
        var request = new IncrementalAlterConfigsRequestData().setValidateOnly(true);
        request.resources().add(resource);
        ApiError error = admin.preprocess(request, (type, which) -> true).get(resource);
        return error == null ? ApiError.NONE : error;
    }

    static void validated(ConfigResource.Type type, String name, Map<String, String> given, Map<String, String> start) {
        new ControllerConfigurationValidator(started(start)).validate(new ConfigResource(type, name), given, Map.of());
    }

    static ObjectNode judged(JsonNode asked) {
        ObjectNode out = JSON.createObjectNode();
        Map<String, String> given = given(asked);
        out.put("code", 0);
        try {
            switch (asked.get("scope").asText()) {
                case "start" -> {
                    KafkaConfig config = started(given);
                    shown(out, given, AbstractKafkaConfig.CONFIG_DEF, config.values());
                }
                case "topic" -> {
                    validated(ConfigResource.Type.TOPIC, "t", given, Map.of());
                    Properties props = new Properties();
                    props.putAll(given);
                    LogConfig config = LogConfig.fromProps(started(Map.of()).extractLogConfigMap(), props);
                    shown(out, given, LogConfig.configDefCopy(), config.values());
                }
                case "group" -> {
                    validated(ConfigResource.Type.GROUP, "g", given, Map.of());
                    shown(out, given, GroupConfig.CONFIG_DEF, new GroupConfig(given).values());
                }
                case "metrics" -> {
                    validated(ConfigResource.Type.CLIENT_METRICS, "m", given, Map.of());
                    Properties props = new Properties();
                    props.putAll(given);
                    shown(out, given, ClientMetricsConfigs.configDef(), new ClientMetricsConfigs(props).values());
                }
                case "broker", "brokers" -> {
                    ApiError error = altered(admin(), asked.get("scope").asText().equals("broker") ? "1" : "", given);
                    out.put("code", error.error().code());
                    out.put("why", error.message());
                    if (error.isSuccess()) {
                        Map<String, Object> values = new HashMap<>(started(given).values());
                        ConfigDef def = new ConfigDef(AbstractKafkaConfig.CONFIG_DEF);
                        QuotaConfig.brokerQuotaConfigs().configKeys().forEach((name, key) -> {
                            def.define(key);
                            if (given.containsKey(name)) values.put(name, ConfigDef.parseType(name, given.get(name), key.type));
                        });
                        shown(out, given, def, values);
                    }
                }
                default -> throw new IllegalArgumentException("no such scope");
            }
        } catch (ConfigException e) {
            out.put("code", 40);
            out.put("why", e.getMessage());
        } catch (Throwable e) {
            ApiError error = ApiError.fromThrowable(e);
            out.put("code", error.error().code());
            out.put("why", String.valueOf(e.getMessage()));
        }
        return out;
    }

    /** A validator in words: its class, what it says of itself, and for a list whether it may be empty. */
    static String allowed(ConfigDef.Validator validator) {
        String text = validator.getClass().getSimpleName() + " " + validator;
        if (validator instanceof ConfigDef.ValidList) {
            try {
                var field = ConfigDef.ValidList.class.getDeclaredField("isEmptyAllowed");
                field.setAccessible(true);
                text += field.getBoolean(validator) ? "" : " nonempty";
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }
        return text;
    }

    static void keys(ArrayNode out, String scope, ConfigDef def) {
        def.configKeys().forEach((name, key) -> {
            ObjectNode row = out.addObject();
            row.put("scope", scope).put("name", name).put("type", key.type.name().toLowerCase());
            if (key.hasDefault()) {
                row.put("default", ConfigDef.convertToString(key.defaultValue, key.type));
            } else {
                row.put("required", true);
            }
            row.put("allowed", key.validator == null ? "-" : allowed(key.validator));
            row.put("internal", key.internalConfig);
            if (scope.equals("broker")) {
                row.put("changes", org.apache.kafka.server.config.DynamicBrokerConfig.dynamicConfigUpdateModes()
                    .getOrDefault(name, "read-only"));
            }
        });
    }

    static ObjectNode described() {
        ObjectNode out = JSON.createObjectNode();
        ArrayNode rows = out.putArray("settings");
        keys(rows, "broker", AbstractKafkaConfig.CONFIG_DEF);
        keys(rows, "broker", QuotaConfig.brokerQuotaConfigs());
        keys(rows, "topic", LogConfig.configDefCopy());
        keys(rows, "group", GroupConfig.CONFIG_DEF);
        keys(rows, "metrics", ClientMetricsConfigs.configDef());
        return out;
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode asked = JSON.readTree(line);
            boolean describes = asked.get("scope").asText().equals("describe");
            answers.println(JSON.writeValueAsString(describes ? described() : judged(asked)));
        }
        answers.flush();
    }
}
