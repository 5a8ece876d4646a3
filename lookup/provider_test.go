package lookup

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

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
