package eureka;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.crypto.password.NoOpPasswordEncoder;
import org.springframework.security.crypto.password.PasswordEncoder;
import org.springframework.security.web.SecurityFilterChain;

/** The server as every Spring Cloud team runs it: nothing of its behaviour is ours. */
@SpringBootApplication
@EnableEurekaServer
public class Server {
    public static void main(String[] arguments) {
        SpringApplication.run(Server.class, arguments);
    }

    /** Compares as written: the encoder that Spring takes otherwise costs a tenth of a second of CPU for each request. */
    @Bean
    @SuppressWarnings("deprecation")
    PasswordEncoder plain() {
        return NoOpPasswordEncoder.getInstance();
    }

    /**
     * With {@code --test.auth=true} HTTP basic, by spring.security.user.name and .password; else open. Without a chain of
     * one's own, Spring answers every registration 403 for want of a CSRF token.
     */
    @Bean
    SecurityFilterChain access(HttpSecurity http, @Value("${test.auth:false}") boolean auth) throws Exception {
        http.csrf(csrf -> csrf.disable());
        if (auth) {
            http.authorizeHttpRequests(all -> all.anyRequest().authenticated()).httpBasic(Customizer.withDefaults());
        } else {
            http.authorizeHttpRequests(all -> all.anyRequest().permitAll());
        }
        return http.build();
    }
}
