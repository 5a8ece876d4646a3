// Package threatcrowd asks a ThreatCrowd v2 search API: the public host that it was made for, a mirror, or iocpipe's
// own server.
//
// The protocol is one GET without a key for each question. The object's name is in the path and the value in the
// query (/domain/report/?domain=, /ip/report/?ip=, /email/report/?email=, /antivirus/report/?antivirus=, and for a
// hash of any kind /file/report/?resource=); the answer is one JSON object, which [intel.ParseReport] reads and
// cleans. Votes are cast by a GET, too, on /vote.php at the host's root.
//
// What the API and what stood before it were seen to do wrong is an error here, never an answer: under status 200 a
// page of HTML, no body at all, the words "Too many connections", an object that was cut off; pages of a proxy,
// endless and dripping bodies, redirects to other hosts. JSON that calls itself text/html is an answer.
package threatcrowd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
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

// Local reports whether the API's host is this one or on a private network, judged by its literal address or its name
// alone: names are never resolved for it.
func (c *Client) Local() bool { return c.local }

// Lookup asks for the report about key, with one request and at most three redirects on the same host.
// Besides what [lookup.Provider] promises: a timeout matches [context.DeadlineExceeded].
func (c *Client) Lookup(ctx context.Context, key extract.Key) (intel.Report, error) {
	path, ok := reportPath(key)
	if !ok {
		return intel.Report{}, fmt.Errorf("%s: %w: %s", c.base.Host, lookup.ErrUnsupported, key.Type)
	}
	body, err := c.get(ctx, c.base.String()+path, key.Value)
	if err != nil {
		return intel.Report{}, err
	}
	report, err := intel.ParseReport(body)
	if err != nil {
		return intel.Report{}, fmt.Errorf("%s: %w: %w", c.base.Host, lookup.ErrBadAnswer, err)
	}
	return report, nil
}

// Vote casts a vote about key: that it is malicious, or that it is not. The API answers nothing that could be checked,
// so status 200 means accepted. Detection names cannot be voted on.
func (c *Client) Vote(ctx context.Context, key extract.Key, malicious bool) error {
	if key.Type == extract.None || key.Type == extract.Antivirus {
		return fmt.Errorf("%s: %w: %s", c.base.Host, lookup.ErrUnsupported, key.Type)
	}
	root := strings.TrimSuffix(c.base.String(), DefaultPath)
	vote := "1" // unlike in reports, where 1 means not malicious, too, but malicious is -1
	if malicious {
		vote = "0"
	}
	_, err := c.get(ctx, root+"/vote.php?vote="+vote+"&value="+escape(key.Value), key.Value)
	return err
}

// reportPath returns path and query of the question about key, below the base URL.
func reportPath(key extract.Key) (string, bool) {
	value := escape(key.Value)
	switch key.Type {
	case extract.Domain:
		return "/domain/report/?domain=" + value, true
	case extract.IP:
		return "/ip/report/?ip=" + value, true
	case extract.Email:
		return "/email/report/?email=" + value, true
	case extract.Antivirus:
		return "/antivirus/report/?antivirus=" + value, true
	case extract.MD5, extract.SHA1, extract.SHA256, extract.SHA512:
		return "/file/report/?resource=" + value, true
	}
	return "", false
}

// escape percent-encodes value. A blank becomes %20: not every server takes a plus for one.
func escape(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }

// get returns the body of the answer with status 200. Its errors name the host and keep value, which target holds, out.
func (c *Client) get(ctx context.Context, target, value string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errTimeout(c.timeout))
	defer cancel()
	body, err := c.exchange(ctx, target)
	if err != nil {
		return nil, c.withoutValue(ctx, err, value)
	}
	return body, nil
}

// errTimeout is the cause of a question's end when it has taken longer than allowed.
func errTimeout(timeout time.Duration) error {
	return fmt.Errorf("no full answer within %v: %w", timeout, context.DeadlineExceeded)
}

// exchange sends one request and reads the answer.
func (c *Client) exchange(ctx context.Context, target string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
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

// maxRedirects is how many redirects belong to one question.
const maxRedirects = 3

// checkRedirect permits a redirect on the same host: another path, or https instead of http. The question is not for
// others' ears.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d redirects", lookup.ErrBadAnswer, maxRedirects)
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

// withoutValue returns err with the host's name and without value. The end of ctx goes before what it made fail.
func (c *Client) withoutValue(ctx context.Context, err error, value string) error {
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
	if mentions(text, value) {
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
	return strings.Contains(text, strings.ToLower(value)) || strings.Contains(text, strings.ToLower(escape(value)))
}
