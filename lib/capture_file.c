// SPDX-License-Identifier: BSD-2-Clause
#include "capture_file.h"

#include <byteswap.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <string.h>

#define PCAP_MAGIC	 0xa1b2c3d4u
#define PCAP_MAGIC_NS	 0xa1b23c4du
#define PCAPNG_SECTION	 0x0a0d0d0au
#define PCAPNG_ORDER	 0x1a2b3c4du
#define PCAPNG_INTERFACE 1
#define PCAPNG_SIMPLE	 3
#define PCAPNG_ENHANCED	 6
#define BLOCK_MAX	 (16u << 20)	/* octets of one block or packet: more is a broken file */
#define INTERFACES_MAX	 256

#define LINK_ETHERNET 1
#define LINK_RAW      101
#define LINK_SLL      113
#define LINK_SLL2     276

struct capture {
	FILE *file;
	const char *name;
	struct ipsecbpf_report *report;
	bool swapped;			/* the other byte order than this host's */
	uint32_t links[INTERFACES_MAX];	/* link type of each interface; pcap has one */
	uint32_t interfaces;
};

static int broken(const struct capture *capture, const char *what)
{
	report_error(capture->report, capture->name, NULL, "%s", what);
	return -EINVAL;
}

static int cut_short(const struct capture *capture)
{
	return broken(capture, ferror(capture->file) ? "cannot be read" : "the file is cut short");
}

static bool take(const struct capture *capture, void *out, size_t len)
{
	return fread(out, 1, len, capture->file) == len;
}

static bool skip(const struct capture *capture, size_t len)
{
	uint8_t rest[4096];

	for (; len; len -= len < sizeof(rest) ? len : sizeof(rest))
		if (!take(capture, rest, len < sizeof(rest) ? len : sizeof(rest)))
			return false;
	return true;
}

static uint32_t word(const struct capture *capture, uint32_t value)
{
	return capture->swapped ? bswap_32(value) : value;
}

/* ---- link types ---------------------------------------------------------------------------- */

/* Octets in front of the network header, and where the ethertype stands; negative: nowhere. */
static int link_header(uint32_t link, int *ret_ethertype_at)
{
	switch (link) {
	case LINK_ETHERNET:
		*ret_ethertype_at = -1;
		return 0;
	case LINK_RAW:
		*ret_ethertype_at = -1;
		return 0;
	case LINK_SLL:
		*ret_ethertype_at = 14;
		return 16;
	case LINK_SLL2:
		*ret_ethertype_at = 0;
		return 20;
	default:
		return -ENOTSUP;
	}
}

/* Reads a packet of `len` octets and makes it an Ethernet frame. */
static int take_frame(const struct capture *capture, uint32_t link, uint32_t len,
		      struct capture_frame *frame)
{
	int ethertype_at, strip = link_header(link, &ethertype_at);
	uint8_t header[20], *at = frame->data;
	uint32_t room = CAPTURE_FRAME_MAX;

	if (strip < 0) {
		report_error(capture->report, capture->name,
			     "capture on an Ethernet interface, or on \"any\"",
			     "link type %u is not understood", link);
		return -ENOTSUP;
	}
	if (len < (uint32_t)strip)
		return broken(capture, "the packet is shorter than its link header");
	if (strip && !take(capture, header, (size_t)strip))
		return cut_short(capture);
	len -= (uint32_t)strip;
	if (link != LINK_ETHERNET) {
		memset(at, 0, ETH_HLEN);
		at[ETH_ALEN] = 0x02;
		if (strip)
			memcpy(at + 2 * ETH_ALEN, header + ethertype_at, 2);
		at += ETH_HLEN;
		room -= ETH_HLEN;
	}
	frame->len = (uint32_t)(at - frame->data) + (len < room ? len : room);
	if (!take(capture, at, len < room ? len : room))
		return cut_short(capture);
	if (link == LINK_RAW && len) {
		frame->data[12] = at[0] >> 4 == 6 ? 0x86 : 0x08;
		frame->data[13] = at[0] >> 4 == 6 ? 0xdd : 0x00;
	}
	return frame->len < ETH_HLEN ? broken(capture, "the packet is shorter than Ethernet") : 0;
}

static int too_few(const struct capture *capture, uint32_t number, uint32_t have)
{
	if (ferror(capture->file))
		return cut_short(capture);
	report_error(capture->report, capture->name, NULL, "has no packet %u, only %u", number,
		     have);
	return -ENOENT;
}

/* ---- pcap ---------------------------------------------------------------------------------- */

/* The magic number has been read. */
static int read_pcap(struct capture *capture, uint32_t number, struct capture_frame *frame)
{
	struct {
		uint32_t version, zone, digits, snap, link;
	} file;
	struct {
		uint32_t seconds, fraction, len, original_len;
	} packet;

	if (!take(capture, &file, sizeof(file)))
		return cut_short(capture);
	for (uint32_t i = 1;; i++) {
		size_t got = fread(&packet, 1, sizeof(packet), capture->file);

		if (!got)
			return too_few(capture, number, i - 1);
		if (got != sizeof(packet))
			return cut_short(capture);
		packet.len = word(capture, packet.len);
		if (packet.len > BLOCK_MAX)
			return broken(capture, "a packet's length is not believable");
		if (i == number) /* the link type is in the lower 28 bits */
			return take_frame(capture, word(capture, file.link) & 0x0fffffff,
					  packet.len, frame);
		if (!skip(capture, packet.len))
			return cut_short(capture);
	}
}

/* ---- pcapng -------------------------------------------------------------------------------- */

/* A block without its head and the length repeated at its end. */
struct block {
	uint32_t type;
	uint32_t len;		/* octets of body left to read */
};

static int begin_section(struct capture *capture, uint32_t raw_len, struct block *ret_block)
{
	uint32_t order;

	if (!take(capture, &order, sizeof(order)))
		return cut_short(capture);
	if (order != PCAPNG_ORDER && order != bswap_32(PCAPNG_ORDER))
		return broken(capture, "not a capture: a section's byte order is not marked");
	capture->swapped = order != PCAPNG_ORDER;
	capture->interfaces = 0;
	ret_block->len = word(capture, raw_len);
	if (ret_block->len < 16 || ret_block->len > BLOCK_MAX)
		return broken(capture, "a block's length is not believable");
	ret_block->len -= 16;
	return 0;
}

/* The next block's head. 1; 0 at the end of the file; or -errno. */
static int next_block(struct capture *capture, bool type_was_read, struct block *ret_block)
{
	uint32_t head[2] = { PCAPNG_SECTION };
	size_t want = type_was_read ? 4 : 8;
	size_t got = fread(head + (type_was_read ? 1 : 0), 1, want, capture->file);
	int err;

	if (!got && !type_was_read)
		return ferror(capture->file) ? cut_short(capture) : 0;
	if (got != want)
		return cut_short(capture);
	ret_block->type = word(capture, head[0]);
	if (head[0] == PCAPNG_SECTION) {
		err = begin_section(capture, head[1], ret_block);
		return err ? err : 1;
	}
	ret_block->len = word(capture, head[1]);
	if (ret_block->len < 12 || ret_block->len % 4 || ret_block->len > BLOCK_MAX)
		return broken(capture, "a block's length is not believable");
	ret_block->len -= 12;
	return 1;
}

static int add_interface(struct capture *capture, struct block *block)
{
	uint16_t link[2];

	if (block->len < 8 || !take(capture, link, sizeof(link)))
		return broken(capture, "an interface's description is cut short");
	block->len -= sizeof(link);
	if (capture->interfaces == INTERFACES_MAX)
		return broken(capture, "more interfaces than are read");
	capture->links[capture->interfaces++] = capture->swapped ? bswap_16(link[0]) : link[0];
	return 0;
}

/* The packet of an enhanced or simple packet block. */
static int take_packet(const struct capture *capture, const struct block *block,
		       struct capture_frame *frame)
{
	uint32_t head[5] = { 0 }, interface = 0, len;
	size_t head_len = block->type == PCAPNG_ENHANCED ? 20 : 4;

	if (block->len < head_len || !take(capture, head, head_len))
		return broken(capture, "a packet's block is cut short");
	if (block->type == PCAPNG_ENHANCED) {
		interface = word(capture, head[0]);
		len = word(capture, head[3]);
	} else {
		/* The captured length is not told: as much as there was, or as fits the block. */
		len = word(capture, head[0]);
		if (len > block->len - head_len)
			len = block->len - (uint32_t)head_len;
	}
	if (interface >= capture->interfaces || len > block->len - head_len)
		return broken(capture, "a packet's block contradicts itself");
	return take_frame(capture, capture->links[interface], len, frame);
}

static int read_pcapng(struct capture *capture, uint32_t number, struct capture_frame *frame)
{
	bool first = true;
	struct block block;
	uint32_t have = 0;
	int result;

	while ((result = next_block(capture, first, &block)) > 0) {
		first = false;
		if (block.type == PCAPNG_ENHANCED || block.type == PCAPNG_SIMPLE) {
			if (++have == number)
				return take_packet(capture, &block, frame);
		} else if (block.type == PCAPNG_INTERFACE) {
			result = add_interface(capture, &block);
			if (result)
				return result;
		}
		/* What is left of it, and its length once more. */
		if (!skip(capture, block.len + 4))
			return cut_short(capture);
	}
	return result ? result : too_few(capture, number, have);
}

int capture_read(FILE *file, const char *name, uint32_t number, struct capture_frame *ret_frame,
		 struct ipsecbpf_report *report)
{
	struct capture capture = { .file = file, .name = name, .report = report };
	uint32_t magic;

	if (!take(&capture, &magic, sizeof(magic)))
		return cut_short(&capture);
	if (magic == PCAPNG_SECTION) /* the same in both byte orders */
		return read_pcapng(&capture, number, ret_frame);
	capture.swapped = magic == bswap_32(PCAP_MAGIC) || magic == bswap_32(PCAP_MAGIC_NS);
	if (!capture.swapped && magic != PCAP_MAGIC && magic != PCAP_MAGIC_NS) {
		report_error(report, name, "tcpdump -w and Wireshark write such files",
			     "neither pcap nor pcapng");
		return -EINVAL;
	}
	return read_pcap(&capture, number, ret_frame);
}

int capture_load(const char *path, uint32_t number, struct capture_frame *ret_frame,
		 struct ipsecbpf_report *report)
{
	bool standard_input = !strcmp(path, "-");
	FILE *file = standard_input ? stdin : fopen(path, "rbe");
	int err;

	if (!file) {
		err = -errno;
		report_error(report, path, NULL, "cannot be read: %s", strerror(errno));
		return err;
	}
	err = capture_read(file, path, number, ret_frame, report);
	if (!standard_input)
		fclose(file);
	return err;
}
