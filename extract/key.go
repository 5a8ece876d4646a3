// Package extract finds indicators in bytes: IP addresses, domains, e-mail addresses, file hashes and antivirus
// detection names, plain or defanged, in text lines and in the string values of JSON events. It says what is written
// and where ([Scanner]), and whether a value is worth asking anybody about ([Policy]). It asks nobody itself.
package extract

import (
	"fmt"
	"strings"
)

// A Type is the kind of an indicator. The zero Type is no indicator.
type Type uint8

// The types of indicators.
const (
	None Type = iota
	IP
	Domain
	Email
	MD5
	SHA1
	SHA256
	SHA512
	Antivirus
	numTypes
)

var typeNames = [numTypes]string{"none", "ip", "domain", "email", "md5", "sha1", "sha256", "sha512", "antivirus"}

// String returns the type's name as flags and output spell it, such as "ip" or "sha256".
func (t Type) String() string {
	if t < numTypes {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// IsHash reports whether t is one of the file hashes.
func (t Type) IsHash() bool { return t >= MD5 && t <= SHA512 }

// ParseType returns the type that [Type.String] spells as name.
func ParseType(name string) (Type, bool) {
	for t := IP; t < numTypes; t++ {
		if typeNames[t] == name {
			return t, true
		}
	}
	return None, false
}

// A TypeSet is a set of types.
type TypeSet uint16

// AllTypes holds every type.
const AllTypes TypeSet = 1<<numTypes - 2

// hashTypes holds what a user calls "hash".
const hashTypes TypeSet = 1<<MD5 | 1<<SHA1 | 1<<SHA256 | 1<<SHA512

// Has reports whether t is in the set.
func (s TypeSet) Has(t Type) bool { return s&(1<<t) != 0 }

// ParseTypes reads a comma-separated list of type names; "hash" stands for all four hashes and "all" for every type.
func ParseTypes(list string) (TypeSet, error) {
	var set TypeSet
	for name := range strings.SplitSeq(list, ",") {
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "":
		case "all":
			set |= AllTypes
		case "hash":
			set |= hashTypes
		default:
			t, ok := ParseType(name)
			if !ok {
				return 0, fmt.Errorf("unknown type %q: use ip, domain, email, hash, md5, sha1, sha256, sha512, antivirus or all", name)
			}
			set |= 1 << t
		}
	}
	return set, nil
}

// A Key names one indicator: its type and its normalised value. It is comparable, so that it can be the key of a map.
// Values are normalised as follows: addresses in RFC 5952 form without zone, IPv4-mapped ones as IPv4; domains in
// lower-case A-labels without trailing dot; e-mail addresses, hashes and antivirus names in lower case. The zero Key
// names nothing.
type Key struct {
	Type  Type
	Value string
}

// String returns the key as "type:value".
func (k Key) String() string { return k.Type.String() + ":" + k.Value }

// Clone returns a copy of k that shares no memory with the line it was found in.
func (k Key) Clone() Key { return Key{k.Type, strings.Clone(k.Value)} }

// A Match is one indicator as it stands in a line.
type Match struct {
	Key // aliases the line or the scanner's memory; Clone it to keep it

	// Start and End bound, in the line's own bytes, what is written there; line[Start:End] may be defanged,
	// escaped or upper case.
	Start, End int

	// Field is the dotted path of the JSON string that holds the match, without array positions; empty in text
	// lines. It is valid until the scanner's next line.
	Field string

	// Rule says why this is not an indicator after all. It is [Accepted] unless Scanner.Explain is set.
	Rule Rule
}
