// A PKCS#11 library that passes every call on to SoftHSM's and fails where the file FAULTY_TOKEN says so: what happens to a real HSM
// and cannot be made to happen to one in software. The file is read at every signature, every login and every list of slots:
//
//	ok              pass on
//	CODE            C_Sign returns this CK_RV, in hexadecimal, as in 0x32 (CKR_DEVICE_REMOVED)
//	hang            C_Sign never returns
//	crash           C_Sign ends the process
//	wrong           C_Sign returns a signature of something else
//	write TEXT      C_Sign writes TEXT, as a line, where the process talks to its parent (a library that corrupts memory can)
//	flood           C_Sign writes there until nobody reads, and never returns
//	shut            C_Sign shuts that connection, and never returns
//	pin             C_Login refuses any PIN
//	locked          C_Login finds the PIN locked
//	shared          C_Login finds the user logged in by another program
//	strange         one slot more, which does not say what is in it
//
// Each login adds a line to FAULTY_TOKEN_LOGINS.
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <pkcs11/pkcs11.h>

static CK_FUNCTION_LIST_PTR real;
static CK_FUNCTION_LIST list;

static void read_fault(char *text, size_t size) {
  text[0] = '\0';
  const char *path = getenv("FAULTY_TOKEN");
  FILE *file = path == NULL ? NULL : fopen(path, "r");
  if (file == NULL) return;
  if (fgets(text, (int)size, file) == NULL) text[0] = '\0';
  text[strcspn(text, "\n")] = '\0';
  fclose(file);
}

// The descriptor of the helper's connection to its parent.
#define PARENT 3

static void hang(void) {
  for (;;) pause();
}

static void flood(void) {
  char text[4096];
  memset(text, 'x', sizeof text);
  for (;;) {
    ssize_t written = send(PARENT, text, sizeof text, MSG_NOSIGNAL);
    // Full is not closed: the descriptor does not block.
    if (written < 0 && errno != EAGAIN) return;
    if (written < 0) usleep(1000);
  }
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG size, CK_BYTE_PTR signature, CK_ULONG_PTR length) {
  char fault[256];
  read_fault(fault, sizeof fault);
  if (strcmp(fault, "hang") == 0) hang();
  if (strcmp(fault, "flood") == 0) flood(), hang();
  if (strcmp(fault, "shut") == 0) shutdown(PARENT, SHUT_RDWR), hang();
  if (strncmp(fault, "write ", 6) == 0) dprintf(PARENT, "%s\n", fault + 6);
  if (strcmp(fault, "crash") == 0) abort();
  CK_RV result = real->C_Sign(session, data, size, signature, length);
  if (strcmp(fault, "wrong") == 0 && signature != NULL && *length > 8) signature[*length - 1] ^= 0x01;
  if (strncmp(fault, "0x", 2) == 0) return strtoul(fault, NULL, 16);
  return result;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length) {
  const char *path = getenv("FAULTY_TOKEN_LOGINS");
  FILE *file = path == NULL ? NULL : fopen(path, "a");
  if (file != NULL) {
    fputs("login\n", file);
    fclose(file);
  }
  char fault[32];
  read_fault(fault, sizeof fault);
  if (strcmp(fault, "pin") == 0) return CKR_PIN_INCORRECT;
  if (strcmp(fault, "locked") == 0) return CKR_PIN_LOCKED;
  CK_RV result = real->C_Login(session, user, pin, length);
  return result == CKR_OK && strcmp(fault, "shared") == 0 ? CKR_USER_ALREADY_LOGGED_IN : result;
}

#define STRANGE_SLOT 0x7fffffff

static CK_RV slots(CK_BBOOL present, CK_SLOT_ID_PTR ids, CK_ULONG_PTR count) {
  CK_ULONG room = *count;
  CK_RV result = real->C_GetSlotList(present, ids, count);
  char fault[32];
  read_fault(fault, sizeof fault);
  if (result != CKR_OK || strcmp(fault, "strange") != 0) return result;
  if (ids != NULL && room > *count) ids[*count] = STRANGE_SLOT;
  *count += 1;
  return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info) {
  return slot == STRANGE_SLOT ? CKR_TOKEN_NOT_RECOGNIZED : real->C_GetTokenInfo(slot, info);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out) {
  void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return CKR_GENERAL_ERROR;
  CK_C_GetFunctionList get;
  *(void **)&get = dlsym(library, "C_GetFunctionList");
  if (get == NULL) return CKR_GENERAL_ERROR;
  CK_RV result = get(&real);
  if (result != CKR_OK) return result;
  list = *real;
  list.C_Sign = sign;
  list.C_Login = login;
  list.C_GetSlotList = slots;
  list.C_GetTokenInfo = token_info;
  *out = &list;
  return CKR_OK;
}
