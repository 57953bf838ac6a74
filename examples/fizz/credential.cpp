// A Fizz server's certificates from the credential of its pod. Call it at the start and for every reload, and give the result to
// the context that new connections are made with: FizzServerContext::setCertManager.
#include <fizz/extensions/delegatedcred/DelegatedCredentialCertManager.h>
#include <fizz/extensions/delegatedcred/Serialization.h>
#include <folly/FileUtil.h>

#include <memory>
#include <stdexcept>
#include <string>

// path: fizz.pem of the mounted Secret: leaf, credential and key in one file, so that there is no mixed pair to be read.
// Throws when the file cannot be read, or holds nothing that Fizz takes; then keep what was loaded before.
std::unique_ptr<fizz::extensions::DelegatedCredentialCertManager> loadCredential(const std::string& path) {
  std::string pem;
  if (!folly::readFile(path.c_str(), pem)) {
    throw std::runtime_error("cannot read " + path);
  }
  auto credential = fizz::extensions::loadDCFromPEM(std::move(pem), fizz::extensions::DelegatedCredentialMode::Server);
  auto manager = std::make_unique<fizz::extensions::DelegatedCredentialCertManager>();
  manager->addDelegatedCredential(std::move(credential));
  return manager;
}
