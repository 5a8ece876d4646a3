package httpapi

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// DefaultTimeout bounds one question, from the first look at the name to the last byte of the answer.
	DefaultTimeout = 30 * time.Second

	// DefaultMaxBody bounds an answer, in bytes after decompression.
	DefaultMaxBody = 8 << 20
)

// maxHeader bounds the head of an answer, in bytes.
const maxHeader = 64 << 10

// A Config says where an API is and how to reach it. Only BaseURL is required.
type Config struct {
	BaseURL   string            // http or https, without user, password and query
	ProxyURL  string            // http, https, socks5 or socks5h; "" takes the proxy of the environment, if any
	CAFile    string            // PEM certificates to trust besides those of the system
	Timeout   time.Duration     // 0 means DefaultTimeout
	MaxBody   int64             // 0 means DefaultMaxBody
	UserAgent string            // such as "iocpipe/1.0"; "" means "iocpipe"
	Transport http.RoundTripper // sends the requests instead of ProxyURL and CAFile; for tests

	// InsecureHTTP permits plain http to a public host, which tells everybody on the way what was seen here.
	InsecureHTTP bool
}

// ErrPlainHTTP is that a Config would tell everybody on the way what is asked about.
var ErrPlainHTTP = errors.New("plain http is refused to the public host")

// New returns a client of the API that cfg describes, which lives at defaultPath on its host when the base URL has no
// path. It sends nothing. Errors name the field, and never quote a URL, which may hold a password.
func New(cfg Config, defaultPath string) (*Client, error) {
	base, err := parseBase(cfg.BaseURL, defaultPath)
	if err != nil {
		return nil, fmt.Errorf("base URL: %w", err)
	}
	c := &Client{
		base:    base,
		local:   IsLocal(base.Hostname()),
		timeout: cmp.Or(cfg.Timeout, DefaultTimeout),
		maxBody: cmp.Or(cfg.MaxBody, DefaultMaxBody),
		agent:   cmp.Or(cfg.UserAgent, "iocpipe"),
		http:    http.Client{Transport: cfg.Transport, CheckRedirect: checkRedirect},
	}
	if base.Scheme == "http" && !c.local && !cfg.InsecureHTTP {
		return nil, fmt.Errorf("base URL: %w %s", ErrPlainHTTP, base.Host)
	}
	if cfg.Transport == nil {
		if c.http.Transport, err = newTransport(cfg); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// parseBase reads a base URL; its path comes back without a slash at the end.
func parseBase(text, defaultPath string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("not of the form http(s)://host[:port][/path]")
	case u.User != nil:
		return nil, errors.New("a user, password or key in the URL is refused: URLs are logged")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("a query or fragment does not belong in it")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	u.Path = cmp.Or(u.Path, defaultPath)
	return u, nil
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

// newTransport returns a transport that sends each question once: on a connection of its own and with HTTP/1.1. On one
// that was kept, net/http would ask again when it breaks, which costs the budget twice; and at one question in ten
// seconds there is little to gain by keeping it.
func newTransport(cfg Config) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxResponseHeaderBytes = maxHeader
	if cfg.ProxyURL != "" {
		proxy, err := parseProxy(cfg.ProxyURL)
		if err != nil {
			return nil, fmt.Errorf("proxy URL: %w", err)
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	if cfg.CAFile != "" {
		roots, err := readRoots(cfg.CAFile)
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
