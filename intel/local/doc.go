// Package local is the host's own intelligence: one file for all processes of the host, which is asked in the event's
// way, where it costs no budget. What an entry covers beyond itself is its business, too: networks, the names below a
// domain, the hosts of URLs, and the indicators that a malicious report names. Formats of lists are read by its
// package format.
//
// # The file
//
// A store is one file that is mapped into memory and only ever read. A change writes a whole new file beside it and
// renames it, under a lock: readers have the old file or the new one, a killed writer leaves the old one. Numbers are
// little endian. Any byte of it may be wrong, and no reader may fall over that.
//
//	header   64 bytes: magic, version, size of the file, place and sum of the table, its own sum
//	parts    base:     segment of what was imported; an edit copies it without looking
//	         added:    segment of what was added by hand
//	         removed:  segment of what was removed by hand, and is hidden in the base
//	         allow:    the allow list, as JSON
//	table    of each part: kind, place, size, and the CRC-32C of each of its 64 KiB pages
//
// Opening checks header and table. A page is checked when it is first looked into, so that opening takes no longer for
// a large file, and nothing is ever said from a damaged page.
//
// # The segment
//
// Lists that are read into memory alone are a segment, too, as are the parts base, added and removed: there is one
// representation, and one way to look things up.
//
//	statements   what the sources say, those of one source together; most say no more than "listed"
//	records      all names in the order of their hashes: class, name, size of the items, items
//	directory    2^k offsets of records: the top k bits of a hash choose where to begin
//	networks     two tables of IPv4 and IPv6 networks by address, which point into the records
//	sources      their names and numbers, as JSON
//	footer       where these sections are, how many names there are, and k
//
// A name is an indicator or a network, hashes and addresses in binary. What several sources say of one name stands with
// it as items: the domain itself, all below it, a URL on it, or a relation to something malicious; in this order, and
// of each kind the worst verdict first, then the source that was imported first.
//
//	03 09 'e' 'v' 'i' 'l' '.' 't' 'e' 's' 't'   domain evil.test
//	06                                          six bytes of items
//	14 00 00                                    itself, malicious; source 0, its statement 0
//	15 02 1c                                    *.evil.test, malicious; source 2, its statement at 28
//
// To find a name takes one look into the directory and one into the records, which are two or three misses of the
// processor's caches, whatever the size; of a domain the names above it are asked for the same way. Sorted records
// merge in one pass: an import sorts its entries in runs that fit into memory and merges these with the old records,
// less the sources it replaces. The statements of the others are copied as they are, for records find them by their
// source.
//
// The hash is xxhash without a key: one who writes a list can make names that fall into one bucket, and so slow down
// lookups of just these names.
//
// No library does this as well: SQLite takes many times as long for a lookup and allocates for it (see the benchmarks),
// and key-value files such as bbolt, which are filled in transactions, know neither networks nor statements that
// millions of entries share, nor how to replace one source.
package local
