// Makes a Fizz server's certificate manager from the pod's credential. Call it at start and on every reload, and pass the result to
// the context for new connections: FizzServerContext::setCertManager.
#include <fizz/extensions/delegatedcred/DelegatedCredentialCertManager.h>
#include <fizz/extensions/delegatedcred/Serialization.h>
#include <folly/FileUtil.h>

#include <memory>
#include <stdexcept>
#include <string>

// path: fizz.pem of the mounted Secret. Leaf, credential and key are in one file, so a mixed pair is impossible.
// Throws when the file cannot be read or Fizz does not accept it; keep the previous manager then.
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
