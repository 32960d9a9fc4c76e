import java.io.FileInputStream;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Gets one URL by way of http(s).proxyHost and prints the status, the body and the version of HTTP;
 * an optional second argument is a PEM file to trust. With -Dcontent=TEXT that is POSTed.
 */
public class Fetch {
  public static void main(String[] args) throws Exception {
    HttpClient.Builder builder = HttpClient.newBuilder().proxy(ProxySelector.getDefault());
    if (args.length > 1) builder.sslContext(trusting(args[1]));
    HttpClient client = builder.build();
    HttpRequest.Builder asked = HttpRequest.newBuilder(URI.create(args[0]));
    String content = System.getProperty("content");
    if (content != null) asked.POST(HttpRequest.BodyPublishers.ofString(content));
    HttpRequest request = asked.build();
    HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
    System.out.print(answer.statusCode() + " " + answer.body() + " " + answer.version());
  }

  private static SSLContext trusting(String file) throws Exception {
    KeyStore roots = KeyStore.getInstance(KeyStore.getDefaultType());
    roots.load(null, null);
    try (FileInputStream in = new FileInputStream(file)) {
      roots.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    managers.init(roots);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, managers.getTrustManagers(), null);
    return context;
  }
}
