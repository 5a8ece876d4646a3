package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"iocpipe/httpclient"
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

// New returns a client of the API that cfg describes, which lives at defaultPath on its host when the base URL has no
// path. It sends nothing. Errors name the field, and never quote a URL, which may hold a password.
func New(cfg Config, defaultPath string) (*Client, error) {
	base, err := parseBase(cfg.BaseURL, defaultPath)
	if err != nil {
		return nil, fmt.Errorf("base URL: %w", err)
	}
	c := &Client{
		base:    base,
		local:   httpclient.IsLocal(base.Hostname()),
		timeout: cmp.Or(cfg.Timeout, DefaultTimeout),
		maxBody: cmp.Or(cfg.MaxBody, DefaultMaxBody),
		agent:   cmp.Or(cfg.UserAgent, "iocpipe"),
		http:    http.Client{Transport: cfg.Transport, CheckRedirect: checkRedirect},
	}
	if err := httpclient.CheckPlain(base); err != nil && !cfg.InsecureHTTP {
		return nil, fmt.Errorf("base URL: %w", err)
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

// newTransport returns a transport that sends each question once: on a connection of its own and with HTTP/1.1. On one
// that was kept, net/http would ask again when it breaks, which costs the budget twice; and at one question in ten
// seconds there is little to gain by keeping it.
func newTransport(cfg Config) (*http.Transport, error) {
	t, err := httpclient.NewTransport(cfg.ProxyURL, cfg.CAFile)
	if err != nil {
		return nil, err
	}
	t.DisableKeepAlives = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxResponseHeaderBytes = maxHeader
	return t, nil
}
