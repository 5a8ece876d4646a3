package format

import (
	"errors"
	"fmt"
	"strings"

	"iocpipe/extract"
	"iocpipe/intel"
)

// types are the kinds of values that a format's type allows; 0 allows any.
type types uint8

const (
	anIP types = 1 << iota
	aNetwork
	aDomain
	aURL
	aHash
	anEmail
)

// typeNames are the names that formats have for types of indicators.
var typeNames = map[string]types{
	"": 0, "any": 0, "indicator": 0, "ioc": 0,
	"ip": anIP | aNetwork, "ipv4": anIP | aNetwork, "ipv6": anIP | aNetwork, "ip_address": anIP, "address": anIP,
	"ip:port": anIP, "ipv4-addr": anIP | aNetwork, "ipv6-addr": anIP | aNetwork, "ip-src": anIP | aNetwork,
	"ip-dst": anIP | aNetwork, "ip4": anIP | aNetwork, "ip6": anIP | aNetwork,
	"cidr": aNetwork | anIP, "network": aNetwork | anIP, "netblock": aNetwork | anIP, "subnet": aNetwork | anIP,
	"ip_range": aNetwork | anIP,
	"domain":   aDomain, "hostname": aDomain, "host": aDomain, "fqdn": aDomain, "domain-name": aDomain,
	"domain_name": aDomain,
	"url":         aURL, "uri": aURL,
	"hash": aHash, "file": aHash, "file_hash": aHash, "filehash": aHash,
	"md5": aHash, "sha1": aHash, "sha-1": aHash, "sha256": aHash, "sha-256": aHash, "sha512": aHash, "sha-512": aHash,
	"md5_hash": aHash, "sha1_hash": aHash, "sha256_hash": aHash, "sha512_hash": aHash,
	"filehash-md5": aHash, "filehash-sha1": aHash, "filehash-sha256": aHash, "filehash-sha512": aHash,
	"email": anEmail, "email-addr": anEmail, "email-src": anEmail, "email-dst": anEmail, "e-mail": anEmail,
	"email_address": anEmail,
}

var errNotOfType = errors.New("value is not of its type")

// An unwanted error refuses a record that is as it should be, and of no use here: other types of indicators, loose
// patterns, what its source has marked as not for everybody.
type unwanted struct{ error }

// Fault reports whether the record is bad, not merely of no use here: names of files, sigma rules, paths alone.
func (r Refused) Fault() bool {
	var u unwanted
	return !errors.As(r.Err, &u)
}

// other returns the error for a type that is not looked for.
func other(name string) error { return unwanted{fmt.Errorf("unknown type %q", shorten(name))} }

// typeOf returns the types of values that the type of that name allows.
func typeOf(name string) (types, error) {
	want, ok := typeNames[strings.ToLower(name)]
	if !ok {
		return 0, other(name)
	}
	return want, nil
}

// typesOf returns what a subject is.
func typesOf(s intel.Subject) types {
	switch {
	case s.Net.IsValid():
		return aNetwork
	case s.URL != "":
		return aURL
	case s.Key.Type == extract.IP:
		return anIP
	case s.Key.Type == extract.Domain:
		return aDomain
	case s.Key.Type == extract.Email:
		return anEmail
	}
	return aHash
}

// parseTyped is [ParseSubject] for a value that is said to be of one of the types want. What is said to be a URL is one
// even without a path and a scheme: its host is not accused of more.
func parseTyped(value string, want types) (intel.Subject, error) {
	s, err := ParseSubject(value)
	if err != nil || want == 0 {
		return s, err
	}
	if want == aURL && s.URL == "" && typesOf(s)&(aDomain|anIP) != 0 {
		s.URL = plainURL(strings.TrimSpace(value))
	}
	if typesOf(s)&want == 0 {
		return s, errNotOfType
	}
	return s, nil
}

// addTyped takes a value that is said to be of one of the types want, or refuses it.
func (l *list) addTyped(value string, want types, s *intel.Statement) error {
	subject, err := parseTyped(value, want)
	if err == errEmptyFile && s.Report.Verdict() == intel.Benign { // the empty file is harmless indeed
		key, _ := extract.ParseKey(value)
		subject, err = intel.Subject{Key: key}, nil
	}
	if err != nil {
		l.refuse(value, err)
		return nil
	}
	return l.take(intel.Entry{Subject: subject, Statement: s})
}
