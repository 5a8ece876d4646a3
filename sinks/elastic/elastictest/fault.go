package elastictest

import (
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// A Fault answers one bulk request, or does not.
type Fault func(*Exchange)

// Fine does what is asked.
func Fine(x *Exchange) { answer(x.w, http.StatusOK, x.apply(nil)) }

// Storm refuses every nth item with 429, and takes the others; 1 refuses all.
func Storm(n int) Fault {
	return refuseEvery(n, 429, "es_rejected_execution_exception", "queue capacity")
}

// Reject refuses every nth item for good, as its mapping would.
func Reject(n int) Fault {
	return refuseEvery(n, 400, "document_parsing_exception", "failed to parse field [n] of type [long]")
}

// Unavailable refuses every nth item as if its shard had not come up yet.
func Unavailable(n int) Fault {
	return refuseEvery(n, 503, "unavailable_shards_exception", "primary shard is not active")
}

// Flooded refuses all items as an index does whose disk is full.
func Flooded(x *Exchange) {
	status := http.StatusTooManyRequests
	if x.f.Flavor == AsOpenSearch {
		status = http.StatusForbidden
	}
	refuseEvery(1, status, "cluster_block_exception",
		"index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];")(x)
}

func refuseEvery(n, status int, kind, reason string) Fault {
	return func(x *Exchange) {
		answer(x.w, http.StatusOK, x.apply(func(i int) object {
			if i%n != 0 {
				return nil
			}
			return x.refusal(i, status, kind, reason)
		}))
	}
}

// Status refuses the whole request, with Retry-After unless that is empty. Nothing is done.
func Status(status int, retryAfter string) Fault {
	return func(x *Exchange) {
		if retryAfter != "" {
			x.w.Header().Set("Retry-After", retryAfter)
		}
		fail(x.w, status, "some_exception", http.StatusText(status))
	}
}

// StatusAfter does what is asked, and then says that it failed, as a proxy does that has lost patience.
func StatusAfter(status int) Fault {
	return func(x *Exchange) {
		x.apply(nil)
		x.w.Header().Set("Content-Type", "text/html")
		x.w.WriteHeader(status)
		_, _ = io.WriteString(x.w, "<html><h1>"+http.StatusText(status)+"</h1></html>")
	}
}

// Refused breaks the connection before anything is done.
func Refused(*Exchange) { panic(http.ErrAbortHandler) }

// Reset does what is asked, and breaks the connection in the middle of the answer.
func Reset(x *Exchange) {
	body, _ := json.Marshal(x.apply(nil)) // of maps and strings
	x.cut(string(body), len(body)/2)
}

// Stall does what is asked and never answers.
func Stall(x *Exchange) {
	x.apply(nil)
	x.wait(time.Hour)
	panic(http.ErrAbortHandler)
}

// Slow does what is asked after a while.
func Slow(d time.Duration) Fault {
	return func(x *Exchange) {
		if x.wait(d) {
			Fine(x)
		}
	}
}

// Items does what is asked and answers by so many items more or, below 0, less than were sent.
func Items(more int) Fault {
	return func(x *Exchange) {
		result := x.apply(nil)
		items, _ := result["items"].([]any)
		for range more {
			items = append(items, items[0])
		}
		result["items"] = items[:len(items)+min(0, max(more, -len(items)))]
		answer(x.w, http.StatusOK, result)
	}
}

// CutOff does what is asked and answers JSON that is not whole, as if it were.
func CutOff(x *Exchange) {
	body, _ := json.Marshal(x.apply(nil))
	x.w.WriteHeader(http.StatusOK)
	_, _ = x.w.Write(body[:len(body)*2/3])
}

// HTML answers a page under status 200, as a proxy with a login does. Nothing is done.
func HTML(x *Exchange) {
	x.w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(x.w, "<!DOCTYPE html><html><body>Please log in</body></html>")
}

// Garbage does what is asked and answers JSON that is no answer to it.
func Garbage(x *Exchange) {
	n := len(x.Items)
	x.apply(nil)
	items := make([]any, n)
	answer(x.w, http.StatusOK, object{"took": "long", "errors": 7, "items": items})
}

// FailureStore takes every nth item into the failure store of its data stream, which is a failure of status 201.
func FailureStore(n int) Fault {
	return func(x *Exchange) {
		answer(x.w, http.StatusOK, x.apply(func(i int) object {
			if i%n != 0 {
				return nil
			}
			return object{"_index": ".fs-" + x.Items[i].index, "_id": "f", "status": 201, "result": "created", "failure_store": "used"}
		}))
	}
}
