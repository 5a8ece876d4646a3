package lookup

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                       0,
		"0":                                      0,
		"120":                                    2 * time.Minute,
		" 7 ":                                    7 * time.Second,
		"-5":                                     0,
		"1.5":                                    0,
		"soon":                                   0,
		strconv.Itoa(math.MaxInt64):              MaxRetryAfter,
		"99999999999999999999999999":             MaxRetryAfter,
		"Sun, 01 Mar 2026 12:01:30 GMT":          90 * time.Second,
		"Sunday, 01-Mar-26 12:01:30 GMT":         90 * time.Second,
		"Sun Mar  1 12:01:30 2026":               90 * time.Second,
		"Sun, 01 Mar 2026 11:59:00 GMT":          0,
		"Fri, 01 Jan 2100 00:00:00 GMT":          MaxRetryAfter,
		now.Add(time.Hour).Format(time.RFC3339):  0,
		now.Add(time.Hour).Format(time.RFC1123Z): 0,
		now.Add(time.Hour).Format(time.UnixDate): 0,
		now.Add(time.Hour).Format(http.TimeFormat): time.Hour,
	} {
		if got := ParseRetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestCheckStatus(t *testing.T) {
	for _, tt := range []struct {
		status int
		after  string
		busy   bool
		want   string
	}{
		{200, "", false, ""},
		{204, "", false, "api.example: status 204 No Content"},
		{302, "", false, "api.example: status 302 Found"},
		{404, "", false, "api.example: status 404 Not Found"},
		{524, "", false, "api.example: status 524"},
		{429, "", true, "api.example: source is busy (status 429)"},
		{503, "90", true, "api.example: source is busy (status 503), ask again in 1m30s"},
		{500, "90", false, "api.example: status 500 Internal Server Error"},
	} {
		resp := &http.Response{StatusCode: tt.status, Header: http.Header{"Retry-After": {tt.after}}}
		got := ""
		err := CheckStatus("api.example", resp, time.Time{})
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || errors.Is(err, ErrBusy) != tt.busy {
			t.Errorf("%d: %q, busy %v, want %q", tt.status, got, errors.Is(err, ErrBusy), tt.want)
		}
	}
}

func TestCheckStatusTellsWhoAnswered(t *testing.T) {
	for kind, want := range map[string]bool{
		"application/json": true, "Application/JSON; charset=utf-8": true, "text/html": false, "": false, "application/json-seq": false,
	} {
		resp := &http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {kind}}}
		status, ok := errors.AsType[*StatusError](CheckStatus("api.example", resp, time.Time{}))
		if !ok || status.JSON != want {
			t.Errorf("%q: %+v, want JSON %v", kind, status, want)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Fri, 31 Dec 1999 23:59:59 GMT")
	f.Add("-1")
	f.Add("99999999999999999999999")
	f.Fuzz(func(t *testing.T, value string) {
		if d := ParseRetryAfter(value, epoch); d < 0 || d > MaxRetryAfter {
			t.Errorf("%q: %v", value, d)
		}
	})
}
