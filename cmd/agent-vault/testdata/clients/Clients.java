import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.file.Path;
import java.security.*;
import java.util.*;
import java.util.concurrent.*;

/** LIBRARY CELL URL FILE: what the matrix of clients asks of each library. */
public class Clients {
  static void digest(InputStream in) throws Exception {
    var sha = MessageDigest.getInstance("SHA-256");
    in.transferTo(new DigestOutputStream(OutputStream.nullOutputStream(), sha));
    System.out.println(HexFormat.of().formatHex(sha.digest()));
  }

  static void lines(InputStream in) throws Exception {
    var reader = new BufferedReader(new InputStreamReader(in));
    for (String line; (line = reader.readLine()) != null;) System.out.println(line);
  }

  static void client(String cell, String url, String file) throws Exception {
    var client = HttpClient.newHttpClient();
    if (cell.equals("websocket")) {
      var got = new CompletableFuture<String>();
      var socket = client.newWebSocketBuilder().buildAsync(URI.create(url), new WebSocket.Listener() {
        public CompletionStage<?> onText(WebSocket ws, CharSequence text, boolean last) {
          got.complete(text.toString());
          return null;
        }
      }).get();
      socket.sendText("hello", true).get();
      System.out.println(got.get(20, TimeUnit.SECONDS));
      return;
    }
    var request = HttpRequest.newBuilder(URI.create(url));
    if (cell.equals("upload")) request.PUT(HttpRequest.BodyPublishers.ofFile(Path.of(file)));
    var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofInputStream());
    if (cell.equals("stream")) {
      digest(answer.body());
      return;
    }
    System.out.println(answer.version().toString().replace("HTTP_", "HTTP/") + " " + answer.statusCode());
    lines(answer.body());
  }

  static void connection(String cell, String url, String file) throws Exception {
    var c = (HttpURLConnection) new URL(url).openConnection();
    if (cell.equals("upload")) {
      c.setRequestMethod("PUT");
      c.setDoOutput(true);
      try (var in = new FileInputStream(file)) {
        in.transferTo(c.getOutputStream());
      }
    }
    if (cell.equals("stream")) digest(c.getInputStream());
    else lines(c.getResponseCode() < 400 ? c.getInputStream() : c.getErrorStream());
  }

  public static void main(String[] args) throws Exception {
    if (args[0].equals("HttpClient")) client(args[1], args[2], args[3]);
    else connection(args[1], args[2], args[3]);
    System.exit(0);
  }
}
