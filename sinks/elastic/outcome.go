package elastic

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/valyala/fastjson"
)

// A result is what an answer says of one item.
type result struct {
	Error        // of status 200 or 201: none
	create       bool
	failureStore bool // the document went to its data stream's failure store
}

// parseResults reads the answer to a bulk request of n items. Anything but n readable results is [ErrMalformed]: items
// belong to documents by their position alone.
func parseResults(body []byte, n int) ([]result, error) {
	v, err := fastjson.ParseBytes(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	items := v.GetArray("items")
	if len(items) != n {
		return nil, fmt.Errorf("%w: %d items for %d documents", ErrMalformed, len(items), n)
	}
	results := make([]result, n)
	for i, item := range items {
		object, err := item.Object()
		if err != nil || object.Len() != 1 {
			return nil, fmt.Errorf("%w: item %d is none", ErrMalformed, i)
		}
		object.Visit(func(name []byte, v *fastjson.Value) { results[i] = parseResult(string(name), v) })
		if results[i].Status < 100 {
			return nil, fmt.Errorf("%w: item %d has no status", ErrMalformed, i)
		}
	}
	return results, nil
}

// allIndexed reports whether an answer, valid JSON in the bytes that servers use, says of each of n items that it is
// indexed; in doubt it does not. It is the short way through most answers, at a tenth of the cost of [parseResults]. What
// it looks for cannot stand in a string, in which quotes are escaped; its first byte is no quote, of which answers are full.
func allIndexed(body []byte, n int) bool {
	count := func(s string) int { return bytes.Count(body, []byte(s)) }
	return bytes.Contains(body, []byte(`errors":false`)) && count(`status":20`) == n && count(`status":`) == n &&
		!bytes.Contains(body, []byte(`failure_store":"used"`)) && (count(`create":{`) == n || count(`create":{`)+count(`index":{`) == n)
}

func parseResult(action string, v *fastjson.Value) (r result) {
	r.Status = v.GetInt("status")
	r.create = action == "create"
	r.failureStore = string(v.GetStringBytes("failure_store")) == "used"
	if e := v.Get("error"); e != nil && e.Type() != fastjson.TypeNull {
		r.Type, r.Reason = errorOf(e)
	}
	return r
}

// A fate is what becomes of an item.
type fate uint8

const (
	indexedFate   fate = iota
	duplicateFate      // the document is there already
	transientFate      // to be sent again
	floodedFate        // to be sent again when the disk has room
	refusedFate        // a dead letter
)

// fate classifies a result. What is not known to be over in a while is refused: a document that is sent again for ever
// would keep all others out.
func (r *result) fate() fate {
	switch {
	case r.failureStore:
		r.Type, r.Reason = "failure_store", "the document went to the failure store of its data stream: "+r.Reason
		return refusedFate
	case r.Status/100 == 2 && r.Type == "":
		return indexedFate
	case r.Status == http.StatusConflict && r.create:
		return duplicateFate
	case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable, r.Status == http.StatusGatewayTimeout,
		r.Status == http.StatusBadGateway:
		if r.Flooded() {
			return floodedFate
		}
		return transientFate
	case r.Flooded():
		return floodedFate
	}
	return refusedFate
}

// Flooded tells what a server answers while its disk is full, and takes back by itself when there is room: the block on
// indices whose disk is over the flood-stage watermark, which Elasticsearch answers with 429 since 7.8, before and in
// OpenSearch with 403 or 429; and OpenSearch's refusal to create indices over the high watermark.
func (e *Error) Flooded() bool {
	return e.Type == "index_create_block_exception" || e.Type == "cluster_block_exception" &&
		(strings.Contains(e.Reason, "read-only-allow-delete") || strings.Contains(e.Reason, "read-only / allow delete"))
}

// A rejection is an answer to a whole request that is no success.
type rejection struct {
	answer *Error
	after  time.Duration // as Retry-After says; 0 when it does not
}

// Error returns the server's.
func (r *rejection) Error() string { return r.answer.Error() }

// Unwrap returns the [*Error].
func (r *rejection) Unwrap() error { return r.answer }

// A verdict is what to do with a whole request.
type verdict uint8

const (
	taken  verdict = iota // look at its items
	again                 // send the same
	divide                // send it in halves, to find which document it is; one alone is refused
	stop                  // it is not the documents' fault, and waiting will not help
)

// verdictOf classifies the error of a request. Without an answer it may have been applied: what has an _id is then there
// already, when it is sent again.
func verdictOf(err error) verdict {
	var answer *Error
	switch {
	case err == nil:
		return taken
	case errors.Is(err, ErrUnknownServer):
		return stop
	case !errors.As(err, &answer):
		return again // the network, a time-out, an answer that is none
	case answer.busy():
		return again
	case answer.Status == http.StatusRequestEntityTooLarge, answer.Status == http.StatusBadRequest:
		return divide
	}
	return stop
}

// busy reports whether the answer may be another one in a while.
func (e *Error) busy() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return e.Status >= 500 || e.Flooded()
}

// refusalOf is the error of a document that a whole request was refused for.
func refusalOf(err error) Error {
	var answer *Error
	if !errors.As(err, &answer) {
		return Error{Reason: err.Error()}
	}
	e := *answer
	if e.Type == "" {
		e.Type = strings.ToLower(strings.ReplaceAll(http.StatusText(e.Status), " ", "_"))
	}
	return e
}
