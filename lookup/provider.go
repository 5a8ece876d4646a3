package lookup

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/httpclient"
	"iocpipe/intel"
)

// A Provider asks one source. Lookup answers one question with one request (and the redirects that belong to it): it
// neither retries nor sleeps, for the budget is the scheduler's. It ends when ctx does, and is safe for concurrent use.
//
// An error is not an answer: with a non-nil error the report means nothing, and that the source does not know the
// indicator is a report that is not Known and a nil error. Errors name the host, never the indicator.
type Provider interface {
	Lookup(ctx context.Context, key extract.Key) (intel.Report, error)
}

var (
	// ErrBusy says that a source wants to be asked later. [BusyError] tells when, if the source said so.
	ErrBusy = errors.New("source is busy")

	// ErrBadAnswer says that a source answered, but with no report: a page, an empty body, half an object, too
	// much of anything. It may know better the next time.
	ErrBadAnswer = errors.New("answer is no report")

	// ErrUnsupported says that a source cannot be asked about this type of indicator. Nothing was sent.
	ErrUnsupported = errors.New("source does not know this type of indicator")

	// ErrRefused says that a source answers nothing about this very indicator, and will not tomorrow: it takes it
	// for malformed, or for private. The source is well.
	ErrRefused = errors.New("source takes no question about this indicator")

	// ErrDenied says that a source answers nobody without the right key: no other question will fare better.
	ErrDenied = errors.New("access is denied")
)

// A BusyError is the [ErrBusy] of one source, by status 429 or 503.
type BusyError struct {
	Host       string
	Status     int
	RetryAfter time.Duration // how long the source wants to be left alone; 0 when it did not say
}

// Error names the host, the status and the time to wait.
func (e *BusyError) Error() string {
	if e.RetryAfter == 0 {
		return fmt.Sprintf("%s: %v (status %d)", e.Host, ErrBusy, e.Status)
	}
	return fmt.Sprintf("%s: %v (status %d), ask again in %v", e.Host, ErrBusy, e.Status, e.RetryAfter)
}

// Is reports whether target is [ErrBusy].
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// A StatusError is an HTTP status that is neither an answer nor a plea to wait: a wrong path, a missing right, a
// source that is broken.
type StatusError struct {
	Host   string
	Status int
	JSON   bool // the answer calls itself JSON: the API itself spoke, not what stands before it
}

// Error names the host and the status.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%s: status %d %s", e.Host, e.Status, http.StatusText(e.Status)))
}

// maxRetryAfter bounds how long a source can ask to be left alone.
const maxRetryAfter = 24 * time.Hour

// CheckStatus returns nil for status 200, a [BusyError] for 429 and 503, and a [StatusError] for any other. host is
// what the error names; now is when a Retry-After date counts from.
func CheckStatus(host string, resp *http.Response, now time.Time) error {
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &BusyError{host, resp.StatusCode, httpclient.RetryAfter(resp.Header, now, maxRetryAfter)}
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // what is no media type is no JSON
	return &StatusError{host, resp.StatusCode, kind == "application/json"}
}
