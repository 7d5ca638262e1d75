// KeySets: the keys that tokens are verified with, as they are now.
//
// `KeySetStore` reads key sets from files, fetches those behind `https:` addresses (libcurl, off every path of packets),
// refreshes them, and gives them to whoever verifies a token. What cannot be read or fetched leaves the last good set in
// force: a file's until it is right again, a fetched one's for the time that the configuration states. Imports JOSE,
// Tokens and WholeFile.

internal import CCurl
internal import Glibc
internal import JOSE
public import Tokens
internal import WholeFile

/// A text that could not be had: why.
struct SourceError: Error, Equatable {
    let text: String
}

/// Reads and fetches what key sets are made of.
enum KeySetText {
    /// Bytes of a key set at most.
    static let limit = 1 << 20
    /// Milliseconds that a fetch takes at most.
    static let timeout = 10_000

    /// The text of a file. A secret must be its owner's alone.
    static func file(_ path: String, isSecret: Bool) throws(SourceError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path, "cannot be opened") }
        defer { close(descriptor) }
        if isSecret {
            var facts = stat()
            guard fstat(descriptor, &facts) == 0 else { throw failure(path, "cannot be looked at") }
            guard facts.st_mode & 0o077 == 0 else {
                throw SourceError(text: "\(path): a secret that others than its owner may use (chmod 600 \(path))")
            }
        }
        guard let bytes = WholeFile.read(descriptor, limit: limit) else { throw failure(path, "cannot be read") }
        guard bytes.count <= limit else { throw SourceError(text: "\(path): longer than \(limit) bytes") }
        return bytes
    }

    /// The answer to a GET request.
    static func fetch(_ address: KeyAddress) throws(SourceError) -> [UInt8] {
        var body: UnsafeMutablePointer<CChar>?
        var length = 0
        var error = [CChar](repeating: 0, count: Int(CCURL_ERROR_SIZE))
        let status = ccurl_fetch(address.url, address.authorities, timeout, limit, &body, &length, &error)
        defer { free(body) }
        guard status != -1 else {
            let text = String(decoding: error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw SourceError(text: "\(address.url): \(text)")
        }
        guard status == 200 else { throw SourceError(text: "\(address.url): HTTP status \(status) instead of 200") }
        return body.map { Array(UnsafeRawBufferPointer(start: $0, count: length)) } ?? []
    }

    private static func failure(_ path: String, _ what: String) -> SourceError {
        SourceError(text: "\(path): \(what): \(String(cString: strerror(errno)))")
    }
}

extension TokenIssuer {
    /// Reads this issuer's keys from their text.
    func keySet(_ text: [UInt8]) throws(SourceError) -> JSONWebKeySet {
        let set: JSONWebKeySet
        do throws(JSONWebKey.Failure) {
            set = try JSONWebKeySet(text, defaultAlgorithm: algorithm)
        } catch {
            throw SourceError(text: "\(keys.text): no key set to use: \(error)")
        }
        guard set.isSecret == keys.isSecret else {
            throw SourceError(
                text: keys.isSecret
                    ? "\(keys.text): no secret (kty oct), which secret: promises"
                    : "\(keys.text): a shared secret among public keys (name its file as secret: instead of keys:)")
        }
        return set
    }
}

extension KeySetStore {
    /// What keeps an issuer's keys from being read, where they are in a file; nil where nothing does, or where they are
    /// fetched.
    public static func problem(_ issuer: TokenIssuer) -> String? {
        switch issuer.keys {
        case .url: return nil
        case .file(let path), .secret(let path):
            do throws(SourceError) {
                _ = try issuer.keySet(try KeySetText.file(path, isSecret: issuer.keys.isSecret))
                return nil
            } catch {
                return error.text
            }
        }
    }
}
