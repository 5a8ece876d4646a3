package httpclient

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"
)

func TestIsLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "10.0.0.1": true, "172.31.0.1": true, "192.168.1.1": true,
		"169.254.1.1": true, "0.0.0.0": true, "[::1]": true, "[fd00::1]": true, "[fe80::1%25eth0]": true,
		"[::ffff:10.0.0.1]": true, "localhost": true, "LOCALHOST.": true, "api.localhost": true, "intel": true,
		"intel.local": true, "intel.corp.internal": true, "nas.home.arpa": true, "box.lan": true,
		"192.0.2.1": false, "172.32.0.1": false, "8.8.8.8": false, "[2001:db8::1]": false, "[::ffff:8.8.8.8]": false,
		"www.threatcrowd.org": false, "localhost.example": false, "notlocal.example": false, "home.arpa.example": false,
		"127.0.0.1.example": false,
	} {
		u, err := url.Parse("https://" + host + ":8443")
		if err != nil {
			t.Fatal(err)
		}
		if got := IsLocal(u.Hostname()); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
}

func TestCheckPlain(t *testing.T) {
	for link, want := range map[string]string{
		"https://api.example.com/x": "", "http://intel:8080": "", "http://[::1]:8080/": "",
		"http://user:secret@api.example.com:80/secret": "plain http is refused to the public host api.example.com:80",
	} {
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		switch err := CheckPlain(u); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", link, err)
		case want != "" && (!errors.Is(err, ErrPlainHTTP) || err.Error() != want):
			t.Errorf("%s: %v, want %s", link, err, want)
		}
	}
}

// limit is that of these tests.
const limit = 24 * time.Hour

// header returns one whose Retry-After is value.
func header(value string) http.Header { return http.Header{"Retry-After": {value}} }

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                       0,
		"0":                                      0,
		"120":                                    2 * time.Minute,
		" 7 ":                                    7 * time.Second,
		"-5":                                     0,
		"1.5":                                    0,
		"soon":                                   0,
		strconv.Itoa(math.MaxInt64):              limit,
		"99999999999999999999999999":             limit,
		"Sun, 01 Mar 2026 12:01:30 GMT":          90 * time.Second,
		"Sunday, 01-Mar-26 12:01:30 GMT":         90 * time.Second,
		"Sun Mar  1 12:01:30 2026":               90 * time.Second,
		"Sun, 01 Mar 2026 11:59:00 GMT":          0,
		"Fri, 01 Jan 2100 00:00:00 GMT":          limit,
		now.Add(time.Hour).Format(time.RFC3339):  0,
		now.Add(time.Hour).Format(time.RFC1123Z): 0,
		now.Add(time.Hour).Format(time.UnixDate): 0,
		now.Add(time.Hour).Format(http.TimeFormat): time.Hour,
	} {
		if got := RetryAfter(header(value), now, limit); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Fri, 31 Dec 1999 23:59:59 GMT")
	f.Add("-1")
	f.Add("99999999999999999999999")
	f.Fuzz(func(t *testing.T, value string) {
		if d := RetryAfter(header(value), time.Unix(0, 0), limit); d < 0 || d > limit {
			t.Errorf("%q: %v", value, d)
		}
	})
}
