/**
 * One JVM that runs many stock Hadoop commands as many users, since starting a JVM per command costs seconds.
 *
 * One JSON object a line on standard input: {"argv": ["fs", "-ls", "/"], "principal": "...", "keytab": "...", "as": "ada"}. The answer is one
 * line on standard output: {"rc": 0, "out": "...", "err": "...", "ms": 12}. "as" makes the principal impersonate that user (doAs).
 * Without a principal the command runs with what the configuration says, unauthenticated.
 */
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.PrivilegedExceptionAction;
import java.util.HashMap;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.tools.DFSAdmin;
import org.apache.hadoop.hdfs.tools.DFSHAAdmin;
import org.apache.hadoop.hdfs.tools.ECAdmin;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.util.Tool;
import org.apache.hadoop.util.ToolRunner;

public final class Shell {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Map<String, UserGroupInformation> LOGINS = new HashMap<>();

  public static void main(String[] args) throws Exception {
    PrintStream answers = System.out;
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    UserGroupInformation.setConfiguration(new HdfsConfiguration());
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      answers.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
      answers.flush();
    }
  }

  private static ObjectNode answer(JsonNode request) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    PrintStream before = System.out;
    PrintStream beforeErr = System.err;
    System.setOut(new PrintStream(out, true, "UTF-8"));
    System.setErr(new PrintStream(err, true, "UTF-8"));
    long start = System.nanoTime();
    int rc;
    try {
      String[] argv = JSON.convertValue(request.get("argv"), String[].class);
      rc = caller(request).doAs((PrivilegedExceptionAction<Integer>) () -> run(argv));
    } catch (Exception e) {
      e.printStackTrace(System.err);
      rc = 255;
    } finally {
      System.out.flush();
      System.err.flush();
      System.setOut(before);
      System.setErr(beforeErr);
    }
    ObjectNode node = JSON.createObjectNode();
    node.put("rc", rc);
    node.put("out", out.toString("UTF-8"));
    node.put("err", err.toString("UTF-8"));
    node.put("ms", (System.nanoTime() - start) / 1_000_000);
    return node;
  }

  private static UserGroupInformation caller(JsonNode request) throws Exception {
    UserGroupInformation login = UserGroupInformation.getCurrentUser();
    if (request.hasNonNull("principal")) {
      String principal = request.get("principal").asText();
      login = LOGINS.get(principal);
      if (login == null) {
        login = UserGroupInformation.loginUserFromKeytabAndReturnUGI(principal, request.get("keytab").asText());
        LOGINS.put(principal, login);
      } else {
        login.checkTGTAndReloginFromKeytab();
      }
    }
    return request.hasNonNull("as") ? UserGroupInformation.createProxyUser(request.get("as").asText(), login) : login;
  }

  private static int run(String[] argv) throws Exception {
    Configuration conf = new HdfsConfiguration();
    Tool tool = switch (argv[0]) {
      case "fs" -> new FsShell();
      case "dfsadmin" -> new DFSAdmin();
      case "ec" -> new ECAdmin(conf);
      case "haadmin" -> new DFSHAAdmin();
      default -> throw new IllegalArgumentException("unknown tool " + argv[0] + ": fs, dfsadmin, ec or haadmin");
    };
    String[] rest = new String[argv.length - 1];
    System.arraycopy(argv, 1, rest, 0, rest.length);
    return ToolRunner.run(conf, tool, rest);
  }
}
