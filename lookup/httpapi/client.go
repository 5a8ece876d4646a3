// Package httpapi sends one question to an HTTP API and reads the answer, in the way that all sources of intelligence
// have in common: within bounds of time and size, once, to no other host, through the user's proxy, with errors that
// name the host and never the question. What to ask and what an answer means is the business of the packages beside it.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"iocpipe/lookup"
)

// A Client asks one API. It is safe for concurrent use.
type Client struct {
	base    *url.URL // without a slash at the end
	local   bool
	timeout time.Duration
	maxBody int64
	agent   string
	http    http.Client
}

// Base returns the base URL, without a slash at the end.
func (c *Client) Base() string { return c.base.String() }

// Host returns the API's host, and the port if the base URL names it.
func (c *Client) Host() string { return c.base.Host }

// Local reports whether the API's host is this one or on a private network, judged by its literal address or its name
// alone: names are never resolved for it.
func (c *Client) Local() bool { return c.local }

// A Request is one question.
type Request struct {
	URL     string
	Header  http.Header // beside Accept and User-Agent; may be nil
	Secrets []string    // what errors must not repeat: the indicator, a key
}

// Get sends r, with at most three redirects on the same host, and returns the body of the answer with status 200. For
// any other status its error is that of [lookup.CheckStatus]; a timeout matches [context.DeadlineExceeded], and an
// answer that is not whole, or larger than allowed, [lookup.ErrBadAnswer]. Errors name the host.
func (c *Client) Get(ctx context.Context, r Request) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errTimeout(c.timeout))
	defer cancel()
	body, err := c.exchange(ctx, r)
	if err != nil {
		return nil, c.withoutSecrets(ctx, err, r.Secrets)
	}
	return body, nil
}

// errTimeout is the cause of a question's end when it has taken longer than allowed.
func errTimeout(timeout time.Duration) error {
	return fmt.Errorf("no full answer within %v: %w", timeout, context.DeadlineExceeded)
}

// exchange sends one request and reads the answer.
func (c *Client) exchange(ctx context.Context, r Request) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, err
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := lookup.CheckStatus(c.base.Host, resp, time.Now()); err != nil {
		return nil, err
	}
	return c.read(resp.Body)
}

func (c *Client) read(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, c.maxBody+1))
	if _, broken := errors.AsType[net.Error](err); broken {
		return nil, err
	}
	if err != nil { // shorter than announced, or not what its encoding says
		return nil, fmt.Errorf("%w: %w", lookup.ErrBadAnswer, err)
	}
	if int64(len(body)) > c.maxBody {
		return nil, fmt.Errorf("%w: body is larger than %d bytes", lookup.ErrBadAnswer, c.maxBody)
	}
	return body, nil
}

// MaxRedirects is how many redirects belong to one question.
const MaxRedirects = 3

// checkRedirect permits a redirect on the same host: another path, or https instead of http. The question is not for
// others' ears.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > MaxRedirects:
		return fmt.Errorf("%w: more than %d redirects", lookup.ErrBadAnswer, MaxRedirects)
	case !sameHost(req.URL, first):
		return fmt.Errorf("%w: redirect to another host", lookup.ErrBadAnswer)
	case req.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https":
		return fmt.Errorf("%w: redirect from https to http", lookup.ErrBadAnswer)
	case req.URL.User != nil:
		return fmt.Errorf("%w: redirect with a user or password", lookup.ErrBadAnswer)
	}
	return nil
}

// sameHost reports whether a and b name the same host and port; the default ports of http and https count as one.
func sameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && explicitPort(a) == explicitPort(b)
}

// explicitPort returns the port of u, or "" when it is the default one.
func explicitPort(u *url.URL) string {
	port := u.Port()
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		return ""
	}
	return port
}

// A requestError is why no answer came, told without the question.
type requestError struct {
	text string
	err  error // never a *url.Error, which quotes the whole URL
}

func (e *requestError) Error() string { return e.text }
func (e *requestError) Unwrap() error { return e.err }

// withoutSecrets returns err with the host's name and without secrets. The end of ctx goes before what it made fail.
func (c *Client) withoutSecrets(ctx context.Context, err error, secrets []string) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if _, ok := errors.AsType[*lookup.BusyError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*lookup.StatusError](err); ok {
		return err
	}
	if sent, ok := errors.AsType[*url.Error](err); ok {
		err = sent.Err
	}
	text := err.Error() // quotes bytes of the server where they are not HTTP, and these may repeat the question
	if slices.ContainsFunc(secrets, func(s string) bool { return mentions(text, s) }) {
		text = "no answer, for a reason that repeats the question"
	}
	return &requestError{c.base.Host + ": " + brief(text), err}
}

// maxReason bounds how much of an error's text is told, in bytes: net/http quotes kilobytes of what is not HTTP.
const maxReason = 200

func brief(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}

// mentions reports whether text holds value, in any case, plain or percent-encoded.
func mentions(text, value string) bool {
	text = strings.ToLower(text)
	return value != "" &&
		(strings.Contains(text, strings.ToLower(value)) || strings.Contains(text, strings.ToLower(Escape(value))))
}

// Escape percent-encodes value for any part of a URL. A blank becomes %20: not every server takes a plus for one.
func Escape(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }
