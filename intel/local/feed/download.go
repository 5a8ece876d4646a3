package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"iocpipe/httpclient"
)

const (
	maxRedirects = 5
	maxPages     = 2000      // of one feed that comes in pages
	maxPage      = 256 << 20 // bytes of a page that must be held in memory

	// slowest is the speed, in bytes per second, below which a download counts as stalled.
	slowest = 32

	// maxRetryAfter bounds how long a server can turn a feed off.
	maxRetryAfter = 7 * 24 * time.Hour

	// zstdMemory bounds the memory of one decoder, in bytes.
	zstdMemory = 128 << 20
)

// validators tell a server which version of a document is there already (RFC 9110, section 8.8).
type validators struct {
	etag, modified string
}

// A download fetches one feed over HTTP.
type download struct {
	*fetcher
	*content
	feed  *Feed
	key   string
	known validators // of what is held
	read  int64      // bytes on the wire
}

// document gets a feed that is one document.
func (d *download) document(ctx context.Context, target string) (err error) {
	_, d.validators, err = d.get(ctx, target, d.known)
	return err
}

// pages gets the pages of a feed of OTX, from target on.
func (d *download) pages(ctx context.Context, target string) error {
	first := target
	for range maxPages {
		path, _, err := d.get(ctx, target, validators{})
		if err != nil {
			return err
		}
		data, err := readPage(path)
		if err != nil {
			return err
		}
		if target, err = nextPage(data, first); err != nil || target == "" {
			return err
		}
	}
	return fmt.Errorf("more than %d pages", maxPages)
}

// readPage returns a document that must be held in memory.
func readPage(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPage {
		return nil, fmt.Errorf("a page of more than %d bytes", maxPage)
	}
	return os.ReadFile(path)
}

// nextPage returns the URL of the page after the one that data is, as OTX writes it; empty after the last. It is on
// first's host.
func nextPage(data []byte, first string) (string, error) {
	var page struct {
		Next string `json:"next"`
	}
	if json.Unmarshal(data, &page) != nil || page.Next == "" {
		return "", nil // what is wrong with it is the reader's to say
	}
	begin, err := url.Parse(first)
	if err != nil {
		return "", err
	}
	next, err := begin.Parse(page.Next)
	if err != nil || next.Host != begin.Host || next.Scheme != begin.Scheme || next.User != nil {
		return "", errors.New("the next page is said to be on another host")
	}
	return next.String(), nil
}

// get keeps what target says as a part, unless that is what known stands for: then the content is unchanged.
func (d *download) get(ctx context.Context, target string, known validators) (path string, got validators, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := d.ask(ctx, target, known)
	if err != nil {
		return "", got, cmpCause(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && known != (validators{}) {
		d.unchanged = true
		return "", known, nil
	}
	if resp.StatusCode != http.StatusOK {
		return "", got, d.statusError(resp)
	}
	m := &meter{fetcher: d.fetcher, ctx: ctx, r: resp.Body, feed: d.feed.Name, total: resp.ContentLength, left: d.MaxBytes - d.read}
	go d.watch(ctx, cancel, m)
	path, err = d.decode(m, resp.Header.Get("Content-Encoding"))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("cut off after %d bytes: %w", m.n.Load(), err)
	}
	d.read += m.n.Load()
	return path, validators{resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}, cmpCause(ctx, err)
}

// cmpCause returns err, or what ended ctx if that made it fail.
func cmpCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (d *download) ask(ctx context.Context, target string, known validators) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", d.UserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "zstd, gzip")
	if d.key != "" && d.feed.KeyHeader != "" {
		req.Header.Set(d.feed.KeyHeader, d.key)
	}
	if known.etag != "" {
		req.Header.Set("If-None-Match", known.etag)
	}
	if known.modified != "" {
		req.Header.Set("If-Modified-Since", known.modified)
	}
	client := http.Client{Transport: d.transport, CheckRedirect: d.checkRedirect}
	return client.Do(req)
}

// checkRedirect permits what a publisher may want: another path or host. The key stays with the host that it is for, in
// the header, the URL and the Referer; and nobody outside can have this host ask its own network.
func (d *download) checkRedirect(req *http.Request, via []*http.Request) error {
	first, last := via[0].URL, via[len(via)-1].URL
	secure, near := req.URL.Scheme == "https", httpclient.IsLocal(req.URL.Hostname())
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.User != nil:
		return errors.New("a redirect with a user or password")
	case !secure && last.Scheme == "https":
		return fmt.Errorf("a redirect from https to %s on %s", req.URL.Scheme, req.URL.Host)
	case near && !httpclient.IsLocal(first.Hostname()):
		return fmt.Errorf("a redirect from a public host into a private network, to %s", req.URL.Host)
	case !secure && !near && !d.feed.InsecureHTTP:
		return fmt.Errorf("a redirect: %w %s", httpclient.ErrPlainHTTP, req.URL.Host)
	}
	req.Header.Del("Referer") // which may hold the key
	if req.URL.Host != first.Host {
		req.Header.Del(d.feed.KeyHeader)
	}
	return nil
}

// statusError says what a status other than 200 means, and takes down when the server wants to be asked again.
func (d *download) statusError(resp *http.Response) error {
	now := d.Now()
	if pause := httpclient.RetryAfter(resp.Header, now, maxRetryAfter); pause > 0 {
		d.content.retryAfter = now.Add(pause)
	}
	code := resp.StatusCode
	text := strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
	switch {
	case d.feed.KeyEnv != "" && (code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusPaymentRequired):
		if d.key == "" {
			return fmt.Errorf("%s: it wants a key: set %s in the environment", text, d.feed.KeyEnv)
		}
		return fmt.Errorf("%s: the key in %s is not accepted", text, d.feed.KeyEnv)
	case !d.content.retryAfter.IsZero():
		return fmt.Errorf("%s, not before %s", text, d.content.retryAfter.UTC().Format(time.RFC3339))
	}
	return errors.New(text)
}

// decode keeps r without the Content-Encoding that the server added.
func (d *download) decode(r io.Reader, encoding string) (path string, err error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return d.keep(r, d.content, "")
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return "", fmt.Errorf("not the gzip that its Content-Encoding says: %w", err)
		}
		return d.keep(z, d.content, "")
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMemory))
		if err != nil {
			return "", fmt.Errorf("not the zstd that its Content-Encoding says: %w", err)
		}
		defer z.Close()
		return d.keep(z, d.content, "")
	}
	return "", fmt.Errorf("Content-Encoding %q was not asked for", encoding)
}

// watch ends a download that stalls, or only drips, until ctx is done.
func (d *download) watch(ctx context.Context, cancel context.CancelCauseFunc, m *meter) {
	tick := time.NewTicker(d.StallTimeout)
	defer tick.Stop()
	least := int64(d.StallTimeout.Seconds()*slowest) + 1
	for before := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n := m.n.Load()
		if n-before < least {
			cancel(fmt.Errorf("stalled: %d bytes in %s, after %d", n-before, Duration(d.StallTimeout), before))
			return
		}
		before = n
	}
}

// withoutSecrets returns err with the host's name and without the key. What ended ctx goes before what it made fail.
func (d *download) withoutSecrets(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	err = cmpCause(ctx, err)
	if sent, ok := errors.AsType[*url.Error](err); ok { // which quotes the whole URL
		err = sent.Err
	}
	host := d.feed.From
	if u, parseErr := url.Parse(host); parseErr == nil {
		host = u.Host
	}
	text := err.Error()
	if d.key != "" {
		text = strings.NewReplacer(d.key, "…", url.PathEscape(d.key), "…", url.QueryEscape(d.key), "…").Replace(text)
	}
	return &fetchError{host + ": " + text, err}
}

// A fetchError is why nothing came, told without secrets.
type fetchError struct {
	text string
	err  error
}

func (e *fetchError) Error() string { return e.text }
func (e *fetchError) Unwrap() error { return e.err }
