package httpapi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNewRefuses(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noPEM, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "base URL: not of the form"},
		{Config{BaseURL: "api.example"}, "base URL: not of the form"},
		{Config{BaseURL: "ftp://api.example"}, "base URL: not of the form"},
		{Config{BaseURL: "https:///x"}, "base URL: not of the form"},
		{Config{BaseURL: "https://:443/"}, "base URL: not of the form"},
		{Config{BaseURL: "https://u:sec ret@api.example"}, "base URL: not of the form"},
		{Config{BaseURL: "https://u:secret@api.example:x"}, "base URL: not of the form"},
		{Config{BaseURL: "https://u:secret@api.example"}, "password"},
		{Config{BaseURL: "https://secret@api.example"}, "password"},
		{Config{BaseURL: "https://api.example/?key=secret"}, "query"},
		{Config{BaseURL: "https://api.example/#secret"}, "fragment"},
		{Config{BaseURL: "http://api.example"}, "plain http is refused to the public host api.example"},
		{Config{BaseURL: "http://192.0.2.1:8080"}, "plain http is refused to the public host 192.0.2.1:8080"},
		{Config{BaseURL: "https://api.example", ProxyURL: "http://u:sec ret@proxy"}, "proxy: not of the form"},
		{Config{BaseURL: "https://api.example", ProxyURL: "ftp://u:secret@proxy"}, "proxy: not of the form"},
		{Config{BaseURL: "https://api.example", CAFile: noPEM}, noPEM},
		{Config{BaseURL: "https://api.example", CAFile: "/no/such/file"}, "/no/such/file"},
	} {
		_, err := New(tt.cfg, "/api")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want one that says %q", tt.cfg, err, tt.want)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec ret") {
			t.Errorf("%+v: error quotes a secret: %v", tt.cfg, err)
		}
	}
}

func TestPlainHTTP(t *testing.T) {
	for _, cfg := range []Config{
		{BaseURL: "http://127.0.0.1:8080"}, {BaseURL: "http://[::1]"}, {BaseURL: "http://10.1.2.3/x"},
		{BaseURL: "http://localhost"}, {BaseURL: "http://api.example", InsecureHTTP: true}, {BaseURL: "https://api.example"},
	} {
		if _, err := New(cfg, "/api"); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestLocal(t *testing.T) {
	for base, want := range map[string]bool{
		"http://intel:8080": true, "https://[::1]:8443": true, "https://www.threatcrowd.org": false, "https://127.0.0.1.example": false,
	} {
		c, err := New(Config{BaseURL: base}, "/api")
		if err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		if c.Local() != want {
			t.Errorf("%s: local %v, want %v", base, c.Local(), want)
		}
	}
}
