// Package httpclient holds what all requests that leave this host have in common: the way through the user's proxy and
// by the user's certificates, which hosts are near enough for plain http, and how long a server wants to be left alone.
// What is asked, how often, and how much of an answer is read is the business of those who ask.
package httpclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// ErrPlainHTTP is that everybody on the way to a public host could read, and change, what is sent and answered.
var ErrPlainHTTP = errors.New("plain http is refused to the public host")

// CheckPlain returns [ErrPlainHTTP] with the host if u is plain http to one that is not [IsLocal].
func CheckPlain(u *url.URL) error {
	if u.Scheme == "http" && !IsLocal(u.Hostname()) {
		return fmt.Errorf("%w %s", ErrPlainHTTP, u.Host)
	}
	return nil
}

// IsLocal reports whether host is on this machine or its own network, as far as its name tells: a loopback, private
// or link-local address, localhost, a name of one label, or one below a suffix that is kept for private networks.
func IsLocal(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified()
	}
	host = "." + strings.ToLower(strings.TrimSuffix(host, "."))
	for _, suffix := range []string{".localhost", ".local", ".internal", ".home.arpa", ".lan"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return strings.LastIndexByte(host, '.') == 0
}

// NewTransport returns a transport of its own that goes through proxyURL (http, https, socks5 or socks5h; "" takes the
// proxy of the environment, if any) and trusts the PEM certificates in caFile, if that is not "", besides those of the
// system. Errors do not quote the proxy, which may hold a password.
func NewTransport(proxyURL, caFile string) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if proxyURL != "" {
		proxy, err := parseProxy(proxyURL)
		if err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	if caFile != "" {
		roots, err := readRoots(caFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return t, nil
}

func parseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err == nil && u.Hostname() != "" {
		switch u.Scheme {
		case "http", "https", "socks5", "socks5h":
			return u, nil
		}
	}
	return nil, errors.New("not of the form http(s)://host[:port] or socks5(h)://host[:port]")
}

// readRoots returns the system's certificates and those in file.
func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil { // a system without any: those of the file still count
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in PEM form", file)
	}
	return roots, nil
}

// RetryAfter returns how long from now the sender of header does not want to be asked, by its Retry-After: seconds, or an
// HTTP date (RFC 9110, section 10.2.3). It is 0 for what is neither or already over, and at most limit: a slip in a
// header must not silence anything for good.
func RetryAfter(header http.Header, now time.Time, limit time.Duration) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(limit/time.Second))) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), limit)
}
