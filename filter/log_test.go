package filter

import (
	"strings"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/source"
)

func TestLogEvents(t *testing.T) {
	lines := strings.Join([]string{
		"Mar  4 09:15:22 h sshd: Failed password from 52.80.34.196 and 52.80.34.196",
		"Mar  4 09:15:20 h sshd: goes back, from 52.80.34.197",
		"nothing here",
		"Mar  4 09:16:22 h sshd: from 10.0.0.1 to evil.com",
		"no time 52.80.34.198",
	}, "\n")
	log := Log{Apart: time.Second, Now: time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)}
	var got []string
	for e, err := range log.Events(source.Open(nil, strings.NewReader(lines))) {
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, k := range e.Keys {
			keys = append(keys, k.Value)
		}
		got = append(got, e.At.String()+" "+strings.Join(keys, ","))
		if strings.HasPrefix(keys[0], "52.80.34.196") && e.Context.Outcome != extract.Fail {
			t.Errorf("outcome %v, want a failure", e.Context.Outcome)
		}
	}
	want := "0s 52.80.34.196|0s 52.80.34.197|1m0s evil.com|1m0s 52.80.34.198"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}
