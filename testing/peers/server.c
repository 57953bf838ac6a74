/*
 * A TLS 1.3 server that serves the files of an issued Secret with BoringSSL: a pod's server, as small as it can be.
 *
 *   server DIRECTORY [--leaf-key FILE] [--port N]
 *
 * DIRECTORY holds tls.crt, dc.bin and dc.key. The leaf's own key is not among them, and is not needed: a client that takes
 * the credential never meets it. Only with --leaf-key can clients without support for credentials be served; without it their
 * handshakes fail (NO_CERTIFICATE_SET).
 *
 * Prints "listening PORT", then a line for each connection: "delegated", "ordinary", or "failed REASON". Every answer is one
 * small page that says the same; its title is the host's name, which in a pod is the pod's. SIGHUP reads the files again: files
 * that cannot be loaded leave the earlier set in use, and it prints "kept REASON" in place of "reloaded". Ends when its standard
 * input closes, so that it never outlives its parent.
 *
 * One connection at a time, each with at most half a minute for a read: enough for tests, and nothing to lock.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MAX_PATH = 4096, MAX_CREDENTIAL = 65535, TIMEOUT_SECONDS = 30 };

/* All that one handshake needs. Loaded as a whole, replaced as a whole. */
typedef struct {
  SSL_CTX *context;
  CRYPTO_BUFFER *credential;
  EVP_PKEY *credential_key;
} Identity;

static int signal_pipe[2];

static void report(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
}

/* BoringSSL's name for the first error of this thread, such as NO_CERTIFICATE_SET. */
static const char *reason(void) {
  uint32_t error = ERR_get_error();
  const char *name = error == 0 ? NULL : ERR_reason_error_string(error);
  ERR_clear_error();
  return name != NULL ? name : "connection closed";
}

static void identity_free(Identity *identity) {
  SSL_CTX_free(identity->context);
  CRYPTO_BUFFER_free(identity->credential);
  EVP_PKEY_free(identity->credential_key);
  memset(identity, 0, sizeof *identity);
}

static CRYPTO_BUFFER *read_credential(const char *path) {
  static uint8_t bytes[MAX_CREDENTIAL + 1];
  FILE *file = fopen(path, "rb");
  if (file == NULL) return NULL;
  size_t length = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  return length > MAX_CREDENTIAL ? NULL : CRYPTO_BUFFER_new(bytes, length, NULL);
}

static EVP_PKEY *read_key(const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) return NULL;
  EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
  fclose(file);
  return key;
}

/* What is wrong, or NULL. */
static const char *identity_load(Identity *identity, const char *directory, const char *leaf_key) {
  char path[MAX_PATH];
  memset(identity, 0, sizeof *identity);
  identity->context = SSL_CTX_new(TLS_method());
  if (identity->context == NULL) return "out of memory";
  SSL_CTX_set_min_proto_version(identity->context, TLS1_3_VERSION);
  /* A resumed session carries no certificate, and so no credential. */
  SSL_CTX_set_options(identity->context, SSL_OP_NO_TICKET);

  snprintf(path, sizeof path, "%s/tls.crt", directory);
  if (!SSL_CTX_use_certificate_chain_file(identity->context, path)) return "tls.crt cannot be loaded";
  if (leaf_key != NULL && !SSL_CTX_use_PrivateKey_file(identity->context, leaf_key, SSL_FILETYPE_PEM)) {
    return "the leaf's key cannot be loaded";
  }
  snprintf(path, sizeof path, "%s/dc.bin", directory);
  identity->credential = read_credential(path);
  if (identity->credential == NULL) return "dc.bin cannot be read";
  snprintf(path, sizeof path, "%s/dc.key", directory);
  identity->credential_key = read_key(path);
  if (identity->credential_key == NULL) return "dc.key cannot be loaded";

  SSL *probe = SSL_new(identity->context);
  int ok = probe != NULL && SSL_set1_delegated_credential(probe, identity->credential, identity->credential_key, NULL);
  SSL_free(probe);
  return ok ? NULL : "BoringSSL refuses dc.bin with dc.key";
}

static void reload(Identity *identity, const char *directory, const char *leaf_key) {
  Identity fresh;
  const char *problem = identity_load(&fresh, directory, leaf_key);
  ERR_clear_error();
  if (problem != NULL) {
    identity_free(&fresh);
    report("kept %s", problem);
    return;
  }
  identity_free(identity);
  *identity = fresh;
  report("reloaded");
}

static void answer(SSL *ssl) {
  const char *how = SSL_delegated_credential_used(ssl) ? "delegated" : "ordinary";
  char request[4096];
  char host[256] = "";
  char page[512];
  char response[1024];
  int received = SSL_read(ssl, request, sizeof request);
  if (received > 0) {
    gethostname(host, sizeof host - 1);
    int size = snprintf(page, sizeof page,
                        "<!doctype html>\n<title>%s</title>\n<body style=\"font: 2em sans-serif; margin: 1em\">%s\n", host, how);
    int length = snprintf(response, sizeof response,
                          "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n"
                          "Connection: close\r\n\r\n%s",
                          size, page);
    SSL_write(ssl, response, length);
  }
  SSL_shutdown(ssl);
  ERR_clear_error();
  report("%s", how);
}

static void serve(const Identity *identity, int connection) {
  struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  SSL *ssl = SSL_new(identity->context);
  if (ssl == NULL || !SSL_set_fd(ssl, connection) ||
      !SSL_set1_delegated_credential(ssl, identity->credential, identity->credential_key, NULL) || SSL_accept(ssl) != 1) {
    report("failed %s", reason());
  } else {
    answer(ssl);
  }
  SSL_free(ssl);
  close(connection);
}

static int listen_on(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  /* A free port is for tests on this machine; a given port is for a pod. */
  address.sin_addr.s_addr = htonl(port == 0 ? INADDR_LOOPBACK : INADDR_ANY);
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int reuse = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 64) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
    perror("listen");
    exit(1);
  }
  report("listening %d", ntohs(address.sin_port));
  return listener;
}

/* A handler may do little: it wakes the loop. A full pipe is fine, because then the loop is awake. */
static void on_hangup(int number) {
  int saved = errno;
  (void)number;
  if (write(signal_pipe[1], "", 1) < 0) errno = saved;
  errno = saved;
}

static int wait_and_serve(Identity *identity, const char *directory, const char *leaf_key, int listener) {
  struct pollfd sources[] = {
      {.fd = listener, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signal_pipe[0], .events = POLLIN}};
  char bytes[256];
  /* SIGHUP is unblocked only between handshakes: it would interrupt one, whose read then fails (a timeout forbids SA_RESTART). */
  sigset_t hangup, none;
  sigemptyset(&none);
  sigemptyset(&hangup);
  sigaddset(&hangup, SIGHUP);
  if (sigprocmask(SIG_BLOCK, &hangup, NULL) != 0) return 1;
  for (;;) {
    if (ppoll(sources, 3, NULL, &none) < 0) {
      if (errno != EINTR) return 1;
      continue;
    }
    if (sources[1].revents != 0 && read(STDIN_FILENO, bytes, sizeof bytes) <= 0) return 0;
    if (sources[2].revents != 0 && read(signal_pipe[0], bytes, sizeof bytes) > 0) reload(identity, directory, leaf_key);
    if (sources[0].revents == 0) continue;
    int connection = accept(listener, NULL, NULL);
    if (connection >= 0) serve(identity, connection);
  }
}

int main(int count, char **words) {
  const char *directory = NULL;
  const char *leaf_key = NULL;
  int port = 0;
  for (int at = 1; at < count; at++) {
    int has_value = at + 1 < count;
    if (strcmp(words[at], "--leaf-key") == 0 && has_value) leaf_key = words[++at];
    else if (strcmp(words[at], "--port") == 0 && has_value) port = atoi(words[++at]);
    else directory = words[at];
  }
  if (directory == NULL) {
    fprintf(stderr, "usage: server DIRECTORY [--leaf-key FILE] [--port N]\n");
    return 2;
  }
  Identity identity;
  const char *problem = identity_load(&identity, directory, leaf_key);
  if (problem != NULL) {
    fprintf(stderr, "%s: %s (%s)\n", directory, problem, reason());
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  struct sigaction hangup = {.sa_handler = on_hangup};
  if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0 || sigaction(SIGHUP, &hangup, NULL) != 0) return 1;
  int status = wait_and_serve(&identity, directory, leaf_key, listen_on(port));
  identity_free(&identity);
  return status;
}
