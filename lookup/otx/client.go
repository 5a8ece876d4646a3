// Package otx asks AlienVault's OTX, by the API that it calls DirectConnect, or a host that speaks the same.
//
// A question is one GET of /indicators/{IPv4|IPv6|domain|hostname|file}/{indicator}/general, with a key in a header or,
// for fewer questions, without (AlienVault-OTX/OTX-Python-SDK). The answer lists the pulses, reports that members
// publish, which name the indicator; report.go says what is made of them.
//
// That the indicator is not known comes as status 404, with or without JSON. Status 400 with JSON is no failure either:
// OTX takes the indicator for malformed, or for private. 403 is a missing or wrong key. 429 comes without Retry-After.
package otx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/lookup/httpapi"
)

const (
	// DefaultURL is where OTX is, and DefaultPath where the API lives on a host when the base URL has no path.
	DefaultURL  = "https://otx.alienvault.com"
	DefaultPath = "/api/v1"

	// DefaultTimeout bounds one question: about some addresses OTX was seen to think for tens of seconds.
	DefaultTimeout = time.Minute

	// DefaultThreshold is how many pulses it takes to call an indicator malicious.
	DefaultThreshold = 2
)

// Types are what OTX can be asked about. E-mail addresses are in pulses, too, but cannot be asked about.
const Types extract.TypeSet = 1<<extract.IP | 1<<extract.Domain | 1<<extract.MD5 | 1<<extract.SHA1 | 1<<extract.SHA256

// A Config says where OTX is, how to reach it and how to read its answers. The zero Config asks the public host without
// a key.
type Config struct {
	httpapi.Config        // BaseURL "" means DefaultURL, Timeout 0 DefaultTimeout
	Key            string // of the account; it is sent to the API's host and appears nowhere else
	DeniedHint     string // what to do when the key is missing or wrong, for the error that says so
	Threshold      int    // 0 means DefaultThreshold
}

// A Client asks OTX. It is safe for concurrent use.
type Client struct {
	api       *httpapi.Client
	key       string
	hint      string
	threshold int
}

// New returns a client of the API that cfg describes. It sends nothing. Errors never quote a URL or the key.
func New(cfg Config) (*Client, error) {
	if strings.ContainsFunc(cfg.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the key holds a blank or a character that no key has")
	}
	if cfg.Key != "" && strings.Contains(cfg.BaseURL, cfg.Key) {
		return nil, errors.New("base URL: the key does not belong in it: URLs are logged")
	}
	cfg.BaseURL = cmp.Or(cfg.BaseURL, DefaultURL)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	api, err := httpapi.New(cfg.Config, DefaultPath)
	if err != nil {
		return nil, err
	}
	return &Client{api, cfg.Key, cfg.DeniedHint, cmp.Or(cfg.Threshold, DefaultThreshold)}, nil
}

// Local reports whether the API's host is this one or on a private network; see [httpapi.Client.Local].
func (c *Client) Local() bool { return c.api.Local() }

// Types returns [Types].
func (c *Client) Types() extract.TypeSet { return Types }

// Lookup asks for what the pulses say about key, with one request and at most three redirects on the same host.
// Besides what [lookup.Provider] promises: a timeout matches [context.DeadlineExceeded], a missing or wrong key
// [lookup.ErrDenied], and that OTX does not take the indicator for one [lookup.ErrRefused].
func (c *Client) Lookup(ctx context.Context, key extract.Key) (intel.Report, error) {
	if !Types.Has(key.Type) {
		return intel.Report{}, fmt.Errorf("%s: %w: %s", c.api.Host(), lookup.ErrUnsupported, key.Type)
	}
	request := httpapi.Request{URL: c.api.Base() + generalPath(key), Secrets: []string{key.Value, c.key}}
	if c.key != "" {
		request.Header = http.Header{"X-Otx-Api-Key": {c.key}}
	}
	body, err := c.api.Get(ctx, request)
	if status, ok := errors.AsType[*lookup.StatusError](err); ok {
		return intel.Report{}, c.explain(status)
	}
	if err != nil {
		return intel.Report{}, err
	}
	report, err := parse(body, key, c.threshold)
	if err != nil {
		return intel.Report{}, fmt.Errorf("%s: %w: %w", c.api.Host(), lookup.ErrBadAnswer, err)
	}
	return report, nil
}

// explain returns what a status means: no error when it says that the indicator is not known.
func (c *Client) explain(err *lookup.StatusError) error {
	switch {
	case err.Status == http.StatusNotFound:
		return nil
	case err.Status == http.StatusBadRequest && err.JSON:
		return fmt.Errorf("%s: %w (status 400): it is malformed or private there", err.Host, lookup.ErrRefused)
	case err.Status == http.StatusForbidden || err.Status == http.StatusUnauthorized:
		denied := fmt.Errorf("%s: %w (status %d)", err.Host, lookup.ErrDenied, err.Status)
		if c.hint != "" {
			denied = fmt.Errorf("%w: %s", denied, c.hint)
		}
		return denied
	}
	return err
}

// generalPath returns the path of the question about key, below the base URL.
func generalPath(key extract.Key) string {
	return "/indicators/" + section(key) + "/" + url.PathEscape(key.Value) + "/general"
}

// section returns the API's name for what key is.
func section(key extract.Key) string {
	switch {
	case key.Type.IsHash():
		return "file"
	case key.Type == extract.Domain && isRegistered(key.Value):
		return "domain"
	case key.Type == extract.Domain:
		return "hostname"
	}
	if addr, err := netip.ParseAddr(key.Value); err == nil && addr.Is6() {
		return "IPv6"
	}
	return "IPv4"
}

// isRegistered reports whether domain was registered at a registry, and does not stand below a name that was. What is
// let by companies, such as names below github.io, stands below.
func isRegistered(domain string) bool {
	suffix, icann := publicsuffix.PublicSuffix(domain)
	for !icann && strings.Contains(suffix, ".") {
		_, parent, _ := strings.Cut(suffix, ".")
		suffix, icann = publicsuffix.PublicSuffix(parent)
	}
	return strings.Count(domain, ".") <= strings.Count(suffix, ".")+1
}
