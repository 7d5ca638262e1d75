import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Instant;

/** One GET of java.net.http: Ask URL. Prints what came back or the error, and when. */
public class Ask {
    public static void main(String[] words) {
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder(URI.create(words[0])).build();
        try {
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        } catch (Exception error) {
            System.out.println(error);
        }
        Instant now = Instant.now();
        System.out.printf("ended %d.%09d%n", now.getEpochSecond(), now.getNano());
    }
}
