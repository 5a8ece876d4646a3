package local

import (
	"encoding/hex"
	"net/netip"

	"github.com/cespare/xxhash/v2"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A class is what a name in a segment is, and so how it is stored. Its numbers are part of the file format.
type class uint8

const (
	noClass   class = 0
	ipv4      class = 1
	ipv6      class = 2
	domain    class = 3
	email     class = 4
	md5       class = 5
	sha1      class = 6
	sha256    class = 7
	sha512    class = 8
	antivirus class = 9
	network4  class = 10 // the address, and the length of the prefix in one byte
	network6  class = 11
	url       class = 12 // only what was removed is kept by its URL, others by their hosts
	classes   class = 13
)

// rawSize is how many bytes a name of each class takes; 0 means that it is text, with its length before it.
var rawSize = [classes]int{
	ipv4: 4, ipv6: 16, md5: 16, sha1: 20, sha256: 32, sha512: 64, network4: 4 + 1, network6: 16 + 1,
}

var typeOf = [classes]extract.Type{
	ipv4: extract.IP, ipv6: extract.IP, domain: extract.Domain, email: extract.Email, md5: extract.MD5,
	sha1: extract.SHA1, sha256: extract.SHA256, sha512: extract.SHA512, antivirus: extract.Antivirus,
}

var classOf = [...]class{
	extract.Domain: domain, extract.Email: email, extract.MD5: md5, extract.SHA1: sha1, extract.SHA256: sha256,
	extract.SHA512: sha512, extract.Antivirus: antivirus,
}

// A name is what a segment is asked for: an indicator or a network as it is stored there.
type name struct {
	class class
	raw   [64]byte // of the classes with a size
	text  string   // of the others
}

// nameOf returns the name of key; false says that it is none that a segment can hold.
func nameOf(key extract.Key) (n name, ok bool) {
	if key.Type == extract.IP {
		addr, err := netip.ParseAddr(key.Value)
		if err != nil {
			return n, false
		}
		return nameOfAddr(addr), true
	}
	if int(key.Type) >= len(classOf) {
		return n, false
	}
	n.class = classOf[key.Type]
	if size := rawSize[n.class]; size > 0 {
		return n, unhex(n.raw[:size], key.Value)
	}
	n.text = key.Value
	return n, n.class != noClass
}

func nameOfAddr(addr netip.Addr) (n name) {
	if addr = addr.Unmap(); addr.Is4() {
		b := addr.As4()
		n.class = ipv4
		copy(n.raw[:], b[:])
		return n
	}
	b := addr.As16()
	n.class = ipv6
	copy(n.raw[:], b[:])
	return n
}

func nameOfNetwork(p netip.Prefix) name {
	n := nameOfAddr(p.Addr())
	size := rawSize[n.class]
	n.raw[size] = byte(p.Bits())
	n.class += network4 - ipv4
	return n
}

// nameOfSubject returns the name under which what s is about is kept.
func nameOfSubject(s *intel.Subject) (name, bool) {
	if s.Net.IsValid() {
		return nameOfNetwork(s.Net), true
	}
	return nameOf(s.Key)
}

// unhex is hex.Decode without the copy that it would take of a string.
func unhex(dst []byte, src string) bool {
	if len(src) != 2*len(dst) {
		return false
	}
	for i := range dst {
		high, low := digits[src[2*i]], digits[src[2*i+1]]
		if high|low > 0xf {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

// digits are the values of hexadecimal digits, in lower case as keys have them; 0xff for all else.
var digits = func() (values [256]byte) {
	for i := range values {
		values[i] = 0xff
	}
	for i := range byte(16) {
		values["0123456789abcdef"[i]] = i
	}
	return values
}()

// hash is the place of n among the names of every segment: they stand in the order of their hashes.
func (n *name) hash() uint64 {
	if size := rawSize[n.class]; size > 0 {
		return hashOf(n.class, xxhash.Sum64(n.raw[:size]))
	}
	return hashOf(n.class, xxhash.Sum64String(n.text))
}

func hashOf(c class, sum uint64) uint64 { return sum ^ uint64(c)*0x9e3779b97f4a7c15 }

// is reports whether n is stored as these bytes.
func (n *name) is(c class, stored []byte) bool {
	if n.class != c {
		return false
	}
	if size := rawSize[c]; size > 0 {
		return string(stored) == string(n.raw[:size])
	}
	return string(stored) == n.text
}

// stored returns the bytes of n.
func (n *name) stored() []byte {
	if size := rawSize[n.class]; size > 0 {
		return n.raw[:size]
	}
	return []byte(n.text)
}

// subjectOf returns what a stored name is about: a key, or a network.
func subjectOf(c class, stored []byte) (s intel.Subject) {
	switch c {
	case ipv4, ipv6:
		addr, _ := netip.AddrFromSlice(stored)
		s.Key = extract.Key{Type: extract.IP, Value: addr.String()}
	case network4, network6:
		last := len(stored) - 1
		addr, _ := netip.AddrFromSlice(stored[:last])
		s.Net = netip.PrefixFrom(addr, int(stored[last])).Masked()
	case md5, sha1, sha256, sha512:
		s.Key = extract.Key{Type: typeOf[c], Value: hex.EncodeToString(stored)}
	case url:
		s.URL = string(stored)
	default:
		s.Key = extract.Key{Type: typeOf[c], Value: string(stored)}
	}
	return s
}
