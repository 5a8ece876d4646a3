package lookuptest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// get returns the body of an answer, and the error of asking or of reading it.
func get(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestBrokenConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		reply http.Handler
		want  error
	}{
		"cut off": {CutOff(`{"a":"b"}`), io.ErrUnexpectedEOF},
		"reset":   {Reset(`{"a":"b"}`), syscall.ECONNRESET},
		"hang up": {HangUp(), io.EOF},
	} {
		if body, err := get(NewServer(t, tt.reply).URL); !errors.Is(err, tt.want) {
			t.Errorf("%s: %q, error %v, want %v", name, body, err, tt.want)
		}
	}
}

func TestScripts(t *testing.T) {
	released := make(chan struct{})
	close(released)
	srv := NewServer(t, ByValue(map[string]http.Handler{
		"a b":  Sequence(JSON("1"), JSON("2")),
		"path": Stall(func() {}, released, JSON("3")),
	}, JSON("4")))
	for _, tt := range []struct{ ask, want string }{
		{"/x?v=a%20b", "1"}, {"/x?v=a+b", "2"}, {"/x?v=a+b", "2"}, {"/x/path/general", "3"}, {"/x/path", "3"},
		{"/x?v=a", "4"}, {"/x/pathway", "4"},
	} {
		if got, err := get(srv.URL + tt.ask); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.ask, got, err, tt.want)
		}
	}
	asked := srv.Asked()
	if len(asked) != 7 || asked[0].Path != "/x" || asked[0].Query != "v=a%20b" || asked[1].Time.Before(asked[0].Time) {
		t.Errorf("asked %v", asked)
	}
}

func TestDripHoldsTheLastByteBack(t *testing.T) {
	resp, err := http.Get(NewServer(t, Drip("abc", time.Millisecond)).URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body strings.Builder
	if _, err := io.CopyN(&body, resp.Body, 3); err != nil || body.String() != "abc" || resp.ContentLength != 4 {
		t.Errorf("%q of %d bytes, %v", body.String(), resp.ContentLength, err)
	}
}
