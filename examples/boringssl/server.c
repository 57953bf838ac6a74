/*
 * A small HTTPS server on BoringSSL that serves its pod's credential, and each new one from the next connection on.
 *
 *   server DIRECTORY PORT          DIRECTORY: the mounted Secret; PORT 0: any free port
 *
 * The kubelet puts each version of a mounted Secret into its own directory and points the link ..data at it. A changed link
 * means a new version, and files read through the link's target belong together, however long reading takes.
 *
 * One connection at a time, to keep it short. The leaf's key is not here: clients without support for delegated credentials
 * are refused.
 */
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MAX_LINK = 256, MAX_PATH = 4096, MAX_CREDENTIAL = 65535, TIMEOUT_SECONDS = 5 };

/* What one handshake needs, loaded from one version of the files. */
typedef struct {
  char version[MAX_LINK];
  SSL_CTX *context;
  CRYPTO_BUFFER *credential;
  EVP_PKEY *key;
} Identity;

static void identity_free(Identity *identity) {
  SSL_CTX_free(identity->context);
  CRYPTO_BUFFER_free(identity->credential);
  EVP_PKEY_free(identity->key);
}

static FILE *open_file(const char *directory, const char *version, const char *name) {
  char path[MAX_PATH];
  snprintf(path, sizeof path, "%s/%s/%s", directory, version, name);
  return fopen(path, "rb");
}

static CRYPTO_BUFFER *read_credential(FILE *file) {
  static uint8_t bytes[MAX_CREDENTIAL];
  if (file == NULL) return NULL;
  size_t length = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  return CRYPTO_BUFFER_new(bytes, length, NULL);
}

static EVP_PKEY *read_key(FILE *file) {
  if (file == NULL) return NULL;
  EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
  fclose(file);
  return key;
}

/* Whether the credential is for this key. BoringSSL does not verify its signature; dcred did, before publishing the Secret. */
static int is_accepted(const Identity *identity) {
  SSL *probe = SSL_new(identity->context);
  int accepted = probe != NULL && SSL_set1_delegated_credential(probe, identity->credential, identity->key, NULL);
  SSL_free(probe);
  return accepted;
}

static int identity_load(Identity *identity, const char *directory, const char *version) {
  char chain[MAX_PATH];
  memset(identity, 0, sizeof *identity);
  snprintf(identity->version, sizeof identity->version, "%s", version);
  identity->context = SSL_CTX_new(TLS_method());
  if (identity->context == NULL) return 0;
  SSL_CTX_set_min_proto_version(identity->context, TLS1_3_VERSION);
  snprintf(chain, sizeof chain, "%s/%s/tls.crt", directory, version);
  if (!SSL_CTX_use_certificate_chain_file(identity->context, chain)) return 0;
  identity->credential = read_credential(open_file(directory, version, "dc.bin"));
  identity->key = read_key(open_file(directory, version, "dc.key"));
  return identity->credential != NULL && identity->key != NULL && is_accepted(identity);
}

/* Loads a new version. If that fails, the present identity stays in use, and the next connection tries again. */
static void refresh(Identity *identity, const char *directory) {
  char path[MAX_PATH];
  char version[MAX_LINK];
  Identity fresh;
  snprintf(path, sizeof path, "%s/..data", directory);
  ssize_t length = readlink(path, version, sizeof version - 1);
  if (length < 0) return;
  version[length] = '\0';
  if (strcmp(version, identity->version) == 0) return;
  if (!identity_load(&fresh, directory, version)) {
    printf("cannot load %s\n", version);
    ERR_clear_error();
    identity_free(&fresh);
    return;
  }
  identity_free(identity);
  *identity = fresh;
  printf("loaded %s\n", version);
}

static void serve(const Identity *identity, int connection) {
  static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
  char request[4096];
  struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  SSL *ssl = SSL_new(identity->context);
  int accepted = ssl != NULL && SSL_set_fd(ssl, connection) &&
                 SSL_set1_delegated_credential(ssl, identity->credential, identity->key, NULL) && SSL_accept(ssl) == 1;
  if (accepted) {
    printf("%s\n", SSL_delegated_credential_used(ssl) ? "delegated" : "ordinary");
    if (SSL_read(ssl, request, sizeof request) > 0) SSL_write(ssl, answer, sizeof answer - 1);
    SSL_shutdown(ssl);
  } else {
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    printf("refused %s\n", reason != NULL ? reason : "connection closed");
  }
  ERR_clear_error();
  SSL_free(ssl);
  close(connection);
}

static int listen_on(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  socklen_t length = sizeof address;
  int reuse = 1;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 64) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
    perror("listen");
    exit(1);
  }
  printf("listening %d\n", ntohs(address.sin_port));
  return listener;
}

/* A container's first process has no default action for this signal. */
static void on_terminate(int number) {
  (void)number;
  _exit(0);
}

int main(int count, char **words) {
  Identity identity = {0};
  if (count != 3) {
    fprintf(stderr, "usage: server DIRECTORY PORT\n");
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTERM, on_terminate);
  refresh(&identity, words[1]);
  if (identity.context == NULL) {
    fprintf(stderr, "%s: no credential that can be loaded\n", words[1]);
    return 1;
  }
  int listener = listen_on(atoi(words[2]));
  for (;;) {
    int connection = accept(listener, NULL, NULL);
    if (connection < 0) continue;
    refresh(&identity, words[1]);
    serve(&identity, connection);
  }
}
