// SPDX-License-Identifier: BSD-2-Clause
#include "capture_file.h"

#include <byteswap.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdlib.h>
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
	bool ours;			/* the file is ours to close */
	bool swapped;			/* the other byte order than this host's */
	bool sections;			/* pcapng */
	bool type_was_read;		/* of the first block */
	uint32_t links[INTERFACES_MAX];	/* link type of each interface; pcap has one */
	uint32_t interfaces;
	uint32_t packets;		/* begun so far: the number of this one */
};

static int broken(const struct capture *capture, const char *what)
{
	report_error(capture->report, capture->name, NULL, "%s", what);
	return -EINVAL;
}

static int broken_packet(const struct capture *capture, const char *what)
{
	report_error(capture->report, capture->name, NULL, "packet %u: %s", capture->packets, what);
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

/* The packet's octets are passed over. 1 or -errno. */
static int no_frame(const struct capture *capture, uint32_t len, const char *problem,
		    struct capture_frame *frame)
{
	frame->problem = problem;
	return skip(capture, len) ? 1 : cut_short(capture);
}

static int unknown_link(const struct capture *capture, uint32_t link, uint32_t len,
			struct capture_frame *frame)
{
	if (capture->sections)
		return no_frame(capture, len, "its link type is not understood", frame);
	report_error(capture->report, capture->name, "capture on an Ethernet interface, or on \"any\"",
		     "link type %u is not understood", link);
	return -ENOTSUP;
}

/* Reads a packet of `len` octets and makes it an Ethernet frame. 1 or -errno. */
static int take_frame(const struct capture *capture, uint32_t link, uint32_t len,
		      struct capture_frame *frame)
{
	int ethertype_at, strip = link_header(link, &ethertype_at);
	uint8_t header[20], *at = frame->data;
	uint32_t room = CAPTURE_FRAME_MAX;

	frame->number = capture->packets;
	frame->problem = NULL;
	frame->len = 0;
	if (strip < 0)
		return unknown_link(capture, link, len, frame);
	if (len < (uint32_t)strip)
		return no_frame(capture, len, "shorter than its link header", frame);
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
	if (len < room)
		room = len;
	frame->len = (uint32_t)(at - frame->data) + room;
	if (!take(capture, at, room) || !skip(capture, len - room))
		return cut_short(capture);
	if (link == LINK_RAW && len) {
		frame->data[12] = at[0] >> 4 == 6 ? 0x86 : 0x08;
		frame->data[13] = at[0] >> 4 == 6 ? 0xdd : 0x00;
	}
	if (frame->len < ETH_HLEN)
		frame->problem = "shorter than an Ethernet header";
	return 1;
}

/* ---- pcap ---------------------------------------------------------------------------------- */

/* The magic number has been read. */
static int begin_pcap(struct capture *capture)
{
	struct {
		uint32_t version, zone, digits, snap, link;
	} file;

	if (!take(capture, &file, sizeof(file)))
		return cut_short(capture);
	/* The upper bits say how long a frame check sequence is. */
	capture->links[0] = word(capture, file.link) & 0x0fffffff;
	return 0;
}

static int next_of_pcap(struct capture *capture, struct capture_frame *frame)
{
	struct {
		uint32_t seconds, fraction, len, original_len;
	} packet;
	size_t got = fread(&packet, 1, sizeof(packet), capture->file);

	if (!got && !ferror(capture->file))
		return 0;
	if (got != sizeof(packet))
		return cut_short(capture);
	capture->packets++;
	packet.len = word(capture, packet.len);
	if (packet.len > BLOCK_MAX)
		return broken_packet(capture, "its length is not believable");
	return take_frame(capture, capture->links[0], packet.len, frame);
}

/* ---- pcapng -------------------------------------------------------------------------------- */

/* A block without its head and the length repeated at its end. */
struct block {
	uint32_t type;
	uint32_t len;		/* octets of body left to read */
};

static int bad_block_length(const struct capture *capture)
{
	report_error(capture->report, capture->name, NULL,
		     "after packet %u: a block's length is not believable", capture->packets);
	return -EINVAL;
}

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
		return bad_block_length(capture);
	ret_block->len -= 16;
	return 0;
}

/* The next block's head. 1; 0 at the end of the file; or -errno. */
static int next_block(struct capture *capture, struct block *ret_block)
{
	uint32_t head[2] = { PCAPNG_SECTION };
	bool first = capture->type_was_read;
	size_t want = first ? 4 : 8;
	size_t got = fread(head + (first ? 1 : 0), 1, want, capture->file);
	int err;

	if (!got && !first && !ferror(capture->file))
		return 0;
	if (got != want)
		return cut_short(capture);
	capture->type_was_read = false;
	ret_block->type = word(capture, head[0]);
	if (head[0] == PCAPNG_SECTION) {
		err = begin_section(capture, head[1], ret_block);
		return err ? err : 1;
	}
	ret_block->len = word(capture, head[1]);
	if (ret_block->len < 12 || ret_block->len % 4 || ret_block->len > BLOCK_MAX)
		return bad_block_length(capture);
	ret_block->len -= 12;
	return 1;
}

static int add_interface(struct capture *capture, struct block *block)
{
	uint16_t link[2];

	if (block->len < 8 || !take(capture, link, sizeof(link)))
		return broken(capture, "an interface's description is cut short");
	block->len -= (uint32_t)sizeof(link);
	if (capture->interfaces == INTERFACES_MAX)
		return broken(capture, "more interfaces than are read");
	capture->links[capture->interfaces++] = capture->swapped ? bswap_16(link[0]) : link[0];
	return 0;
}

/* The packet of an enhanced or simple packet block. 1 or -errno. */
static int take_packet(struct capture *capture, struct block *block,
		       struct capture_frame *frame)
{
	bool simple = block->type == PCAPNG_SIMPLE;
	uint32_t head[5] = { 0 }, head_len = simple ? 4 : 20, interface, len;

	capture->packets++;
	if (block->len < head_len || !take(capture, head, head_len))
		return broken_packet(capture, "its block is cut short");
	block->len -= head_len;
	/* A simple block does not tell the captured length: as much as there was, or as fits. */
	interface = simple ? 0 : word(capture, head[0]);
	len = word(capture, head[simple ? 0 : 3]);
	if (simple && len > block->len)
		len = block->len;
	if (interface >= capture->interfaces || len > block->len)
		return broken_packet(capture, "its block contradicts itself");
	block->len -= len;
	return take_frame(capture, capture->links[interface], len, frame);
}

static int next_of_pcapng(struct capture *capture, struct capture_frame *frame)
{
	struct block block;
	bool found = false;
	int result = 1;

	while (!found && result > 0) {
		result = next_block(capture, &block);
		if (result <= 0)
			break;
		found = block.type == PCAPNG_ENHANCED || block.type == PCAPNG_SIMPLE;
		if (found)
			result = take_packet(capture, &block, frame);
		else if (block.type == PCAPNG_INTERFACE && add_interface(capture, &block))
			result = -EINVAL;
		/* What is left of it, and its length once more. */
		if (result > 0 && !skip(capture, block.len + 4))
			result = cut_short(capture);
	}
	return result;
}

/* ---- files --------------------------------------------------------------------------------- */

static int begin(struct capture *capture)
{
	uint32_t magic;

	if (!take(capture, &magic, sizeof(magic)))
		return cut_short(capture);
	capture->sections = capture->type_was_read = magic == PCAPNG_SECTION;
	if (capture->sections)	/* the same in both byte orders, which follow */
		return 0;
	capture->swapped = magic == bswap_32(PCAP_MAGIC) || magic == bswap_32(PCAP_MAGIC_NS);
	if (capture->swapped || magic == PCAP_MAGIC || magic == PCAP_MAGIC_NS)
		return begin_pcap(capture);
	report_error(capture->report, capture->name, "tcpdump -w and Wireshark write such files",
		     "neither pcap nor pcapng");
	return -EINVAL;
}

struct capture *capture_start(FILE *file, const char *name, struct ipsecbpf_report *report)
{
	struct capture *capture = calloc(1, sizeof(*capture));
	int err;

	if (!capture)
		return NULL;
	capture->file = file;
	capture->name = name;
	capture->report = report;
	err = begin(capture);
	if (!err)
		return capture;
	free(capture);
	errno = -err;
	return NULL;
}

struct capture *capture_open(const char *path, struct ipsecbpf_report *report)
{
	bool standard_input = !strcmp(path, "-");
	FILE *file = standard_input ? stdin : fopen(path, "rbe");
	struct capture *capture;
	int err;

	if (!file) {
		err = errno;
		report_error(report, path, NULL, "cannot be read: %s", strerror(err));
		errno = err;
		return NULL;
	}
	capture = capture_start(file, path, report);
	err = errno;
	if (capture)
		capture->ours = !standard_input;
	else if (!standard_input)
		fclose(file);
	errno = err;
	return capture;
}

int capture_next(struct capture *capture, struct capture_frame *ret_frame)
{
	return capture->sections ? next_of_pcapng(capture, ret_frame) :
				   next_of_pcap(capture, ret_frame);
}

void capture_close(struct capture *capture)
{
	if (!capture)
		return;
	if (capture->ours)
		fclose(capture->file);
	free(capture);
}
