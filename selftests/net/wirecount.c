// SPDX-License-Identifier: BSD-2-Clause
/*
 * wirecount: the eavesdropper. Sits on the ports of the bridge between two hosts, counts every
 * packet that enters it, says what each one was, and says how many the kernel could not hand over.
 *
 * A whole transfer fits the rings (TPACKET_V3, truncated frames), so that counting neither slows
 * the traffic down nor loses packets while the cores are busy. "ready" on stdout, then one JSON
 * object after SIGINT, SIGTERM or SIGUSR1. Used by selftests/demo, selftests/net and the
 * benchmarks.
 *
 *   wirecount [-m MARKER] [-n PACKETS] [-s OCTETS] [-w FILE] IFNAME...
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame_kind.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define PORTS_MAX    4
#define BLOCK_SIZE   (1u << 20)
#define BLOCK_COUNT  96u /* octets of ring per port, in units of BLOCK_SIZE */
#define RETIRE_MS    20u /* the kernel hands over a partly filled block after this time */
#define SAMPLES_MAX  8u	 /* clear-text packets described in the result */
#define SAMPLE_LEN   160

static const char *const kind_names[] = {
#define X(id, word) word,
	PACKET_KINDS(X)
#undef X
};

/* Identity of one ESP packet, for finding repeated sequence numbers and IVs. */
struct esp_record {
	uint32_t port;
	uint32_t spi;
	uint32_t seq;
	uint8_t iv[8]; /* first octets after the sequence number: all of an AEAD's IV */
};

struct port {
	const char *ifname;
	int fd;
	uint8_t *ring;
	unsigned int block; /* next to be read */
	uint64_t packets;
	uint64_t lost;
};

struct wirecount {
	struct port ports[PORTS_MAX];
	unsigned int port_count;
	const char *marker; /* plaintext to look for; NULL: none */
	uint32_t snaplen;   /* octets of each frame that are looked at and saved */
	uint64_t save_left; /* packets still to be saved */
	FILE *pcap;
	uint64_t kinds[KIND_COUNT];
	uint64_t bytes, esp_bytes;
	uint64_t first_ns, last_ns; /* of ESP packets */
	uint64_t marker_seen;
	struct esp_record *records;
	size_t record_count, record_room;
	uint64_t unrecorded;
	char samples[SAMPLES_MAX][SAMPLE_LEN];
	unsigned int sample_count;
};

/* ---- accounting ---------------------------------------------------------------------------- */

static void record_esp(struct wirecount *wc, const struct frame *f, uint32_t at)
{
	struct esp_record *r;

	if (at + 16 > f->len)
		goto lost;
	if (wc->record_count == wc->record_room) {
		size_t room = wc->record_room ? wc->record_room * 2 : 1u << 20;

		r = realloc(wc->records, room * sizeof(*r));
		if (!r)
			goto lost;
		wc->records = r;
		wc->record_room = room;
	}
	r = &wc->records[wc->record_count++];
	r->port = f->port;
	memcpy(&r->spi, f->data + at, 4);
	memcpy(&r->seq, f->data + at + 4, 4);
	memcpy(r->iv, f->data + at + 8, sizeof(r->iv));
	return;
lost:
	wc->unrecorded++;
}

static void describe_clear(struct wirecount *wc, const struct frame *f)
{
	char src[INET6_ADDRSTRLEN] = "?", dst[INET6_ADDRSTRLEN] = "?";
	uint32_t at;
	uint16_t type = frame_ethertype(f, &at);
	uint8_t proto = 0;

	if (wc->sample_count == SAMPLES_MAX)
		return;
	if (type == ETH_P_IP && at + sizeof(struct iphdr) <= f->len) {
		inet_ntop(AF_INET, f->data + at + 12, src, sizeof(src));
		inet_ntop(AF_INET, f->data + at + 16, dst, sizeof(dst));
		proto = f->data[at + 9];
	} else if (type == ETH_P_IPV6 && at + sizeof(struct ip6_hdr) <= f->len) {
		inet_ntop(AF_INET6, f->data + at + 8, src, sizeof(src));
		inet_ntop(AF_INET6, f->data + at + 24, dst, sizeof(dst));
		proto = frame_ipv6_upper(f, &at);
	}
	snprintf(wc->samples[wc->sample_count++], SAMPLE_LEN,
		 "%s > %s protocol %u, %u octets, from %s", src, dst, proto, f->wire_len,
		 wc->ports[f->port].ifname);
}

static int save_frame(struct wirecount *wc, const struct frame *f)
{
	uint32_t header[4] = { (uint32_t)(f->ns / 1000000000), (uint32_t)(f->ns % 1000000000),
			       f->len, f->wire_len };

	if (fwrite(header, sizeof(header), 1, wc->pcap) != 1 ||
	    fwrite(f->data, f->len, 1, wc->pcap) != 1)
		return -EIO;
	return 0;
}

static int account(struct wirecount *wc, const struct frame *f)
{
	uint32_t at = 0;
	enum packet_kind kind = frame_kind(f, &at);

	wc->kinds[kind]++;
	wc->bytes += f->wire_len;
	if (kind == KIND_ESP) {
		wc->esp_bytes += f->wire_len;
		wc->first_ns = wc->first_ns ?: f->ns;
		wc->last_ns = f->ns;
		record_esp(wc, f, at);
	} else if (kind == KIND_CLEAR) {
		describe_clear(wc, f);
	}
	if (wc->marker && memmem(f->data, f->len, wc->marker, strlen(wc->marker)))
		wc->marker_seen++;
	if (wc->pcap && wc->save_left) {
		wc->save_left--;
		return save_frame(wc, f);
	}
	return 0;
}

/* ---- the ports ----------------------------------------------------------------------------- */

/* Keeps the socket from copying more than snaplen octets of a frame. */
static int limit_snaplen(int fd, uint32_t snaplen)
{
	struct sock_filter accept_prefix = BPF_STMT(BPF_RET | BPF_K, snaplen);
	struct sock_fprog program = { .len = 1, .filter = &accept_prefix };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

static int map_ring(struct port *port)
{
	struct tpacket_req3 req = { .tp_block_size = BLOCK_SIZE,
				    .tp_block_nr = BLOCK_COUNT,
				    .tp_frame_size = 2048,
				    .tp_retire_blk_tov = RETIRE_MS };
	int version = TPACKET_V3;

	req.tp_frame_nr = BLOCK_SIZE / req.tp_frame_size * BLOCK_COUNT;
	if (setsockopt(port->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(port->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return -errno;
	port->ring = mmap(NULL, (size_t)BLOCK_SIZE * BLOCK_COUNT, PROT_READ | PROT_WRITE,
			  MAP_SHARED, port->fd, 0);
	return port->ring == MAP_FAILED ? -errno : 0;
}

/* Only what enters by this port counts: what the bridge sends out of it has entered by another. */
static int port_open(struct port *port, uint32_t snaplen)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int one = 1, err;

	address.sll_ifindex = (int)if_nametoindex(port->ifname);
	if (!address.sll_ifindex)
		return -errno;
	port->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (port->fd < 0)
		return -errno;
	if (setsockopt(port->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)))
		return -errno;
	err = limit_snaplen(port->fd, snaplen);
	if (err)
		return err;
	err = map_ring(port);
	if (err)
		return err;
	return bind(port->fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

static int read_block(struct wirecount *wc, uint32_t index, struct tpacket_block_desc *block)
{
	uint8_t *at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;

	for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
		struct tpacket3_hdr *h = (struct tpacket3_hdr *)at;
		struct frame f = { .data = at + h->tp_mac,
				   .len = h->tp_snaplen,
				   .wire_len = h->tp_len,
				   .port = index,
				   .ns = h->tp_sec * 1000000000ull + h->tp_nsec };
		int err = account(wc, &f);

		if (err)
			return err;
		wc->ports[index].packets++;
		at += h->tp_next_offset;
	}
	return 0;
}

/* Reads all blocks that are ready. Returns their number or -errno. */
static int drain_port(struct wirecount *wc, uint32_t index)
{
	struct port *port = &wc->ports[index];
	int blocks = 0;

	for (;;) {
		struct tpacket_block_desc *block =
			(void *)(port->ring + (size_t)port->block * BLOCK_SIZE);

		if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) &
		      TP_STATUS_USER))
			return blocks;
		int err = read_block(wc, index, block);

		if (err)
			return err;
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		port->block = (port->block + 1) % BLOCK_COUNT;
		blocks++;
	}
}

static int drain_all(struct wirecount *wc)
{
	int blocks = 0;

	for (uint32_t i = 0; i < wc->port_count; i++) {
		int n = drain_port(wc, i);

		if (n < 0)
			return n;
		blocks += n;
	}
	return blocks;
}

/*
 * Runs until a signal, then until every packet the kernel has taken has been read: a block that is
 * not full comes within RETIRE_MS, so one poll() of a few times that without a block is the end.
 */
static int watch(struct wirecount *wc, int signal_fd)
{
	struct pollfd polls[PORTS_MAX + 1] = { { .fd = signal_fd, .events = POLLIN } };
	nfds_t first = 0;

	for (uint32_t i = 0; i < wc->port_count; i++)
		polls[i + 1] = (struct pollfd){ .fd = wc->ports[i].fd, .events = POLLIN };
	for (;;) {
		int ready = poll(polls + first, wc->port_count + 1 - first,
				 first ? (int)RETIRE_MS * 4 : -1);

		if (ready < 0 && errno != EINTR)
			return -errno;
		int blocks = drain_all(wc);

		if (blocks < 0)
			return blocks;
		if (first && !ready && !blocks)
			return 0;
		if (polls[0].revents)
			first = 1;
	}
}

/* ---- results ------------------------------------------------------------------------------- */

static int by_iv(const void *a, const void *b)
{
	const struct esp_record *x = a, *y = b;

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	if (x->spi != y->spi)
		return x->spi < y->spi ? -1 : 1;
	return memcmp(x->iv, y->iv, sizeof(x->iv));
}

static int by_seq(const void *a, const void *b)
{
	const struct esp_record *x = a, *y = b;

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	if (x->spi != y->spi)
		return x->spi < y->spi ? -1 : 1;
	return x->seq == y->seq ? 0 : ntohl(x->seq) < ntohl(y->seq) ? -1 : 1;
}

static uint64_t repeated(struct wirecount *wc, int (*order)(const void *, const void *))
{
	uint64_t n = 0;

	if (wc->record_count)
		qsort(wc->records, wc->record_count, sizeof(*wc->records), order);
	for (size_t i = 1; i < wc->record_count; i++)
		n += order(&wc->records[i - 1], &wc->records[i]) == 0;
	return n;
}

/* One line per (port, SPI); the records are sorted by it. */
static void print_spis(const struct wirecount *wc)
{
	const char *separator = "";

	printf("\"spis\":[");
	for (size_t i = 0, from = 0; i < wc->record_count; i++) {
		const struct esp_record *r = &wc->records[i];

		if (i + 1 < wc->record_count && r[1].port == r->port && r[1].spi == r->spi)
			continue;
		printf("%s{\"port\":\"%s\",\"spi\":%u,\"packets\":%zu,\"first_seq\":%u,\"last_"
		       "seq\":%u}",
		       separator, wc->ports[r->port].ifname, ntohl(r->spi), i - from + 1,
		       ntohl(wc->records[from].seq), ntohl(r->seq));
		separator = ",";
		from = i + 1;
	}
	printf("],");
}

static void print_result(struct wirecount *wc)
{
	uint64_t packets = 0, lost = 0;

	for (uint32_t i = 0; i < wc->port_count; i++) {
		struct tpacket_stats_v3 stats = { 0 };
		socklen_t len = sizeof(stats);

		getsockopt(wc->ports[i].fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len);
		wc->ports[i].lost = stats.tp_drops;
		packets += wc->ports[i].packets;
		lost += stats.tp_drops;
	}
	printf("{\"packets\":%lu,\"lost\":%lu,\"bytes\":%lu,\"esp_bytes\":%lu,", packets, lost,
	       wc->bytes, wc->esp_bytes);
	for (int kind = 0; kind < KIND_COUNT; kind++)
		printf("\"%s\":%lu,", kind_names[kind], wc->kinds[kind]);
	printf("\"marker\":%lu,\"esp_ns\":%lu,\"unrecorded\":%lu,", wc->marker_seen,
	       wc->last_ns - wc->first_ns, wc->unrecorded);
	printf("\"repeated_iv\":%lu,", repeated(wc, by_iv));
	printf("\"repeated_seq\":%lu,", repeated(wc, by_seq));
	print_spis(wc);
	printf("\"ports\":{");
	for (uint32_t i = 0; i < wc->port_count; i++)
		printf("%s\"%s\":%lu", i ? "," : "", wc->ports[i].ifname, wc->ports[i].packets);
	printf("},\"clear_samples\":[");
	for (uint32_t i = 0; i < wc->sample_count; i++)
		printf("%s\"%s\"", i ? "," : "", wc->samples[i]);
	printf("]}\n");
}

/* ---- start and end ------------------------------------------------------------------------- */

static int pcap_create(struct wirecount *wc, const char *path)
{
	/* nanosecond pcap 2.4 in host order, LINKTYPE_ETHERNET */
	uint32_t header[6] = { 0xa1b23c4d, 4u << 16 | 2, 0, 0, wc->snaplen, 1 };

	wc->pcap = fopen(path, "we");
	if (!wc->pcap)
		return -errno;
	return fwrite(header, sizeof(header), 1, wc->pcap) == 1 ? 0 : -EIO;
}

static int open_signal_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: wirecount [-m MARKER] [-n PACKETS] [-s OCTETS] [-w FILE] IFNAME...\n");
	return 2;
}

static int fail(const char *object, int err)
{
	fprintf(stderr, "wirecount: %s: %s\n", object, strerror(-err));
	return 1;
}

/* The number in `text`, from 1 to max; 0 if it is something else. */
static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	return *end || value > max ? 0 : value;
}

static int run(struct wirecount *wc)
{
	int signal_fd = open_signal_fd(), err;

	if (signal_fd < 0)
		return fail("signalfd", -errno);
	for (uint32_t i = 0; i < wc->port_count; i++) {
		err = port_open(&wc->ports[i], wc->snaplen);
		if (err)
			return fail(wc->ports[i].ifname, err);
	}
	puts("ready");
	fflush(stdout);
	err = watch(wc, signal_fd);
	if (err)
		return fail("capture", err);
	if (wc->pcap && fclose(wc->pcap))
		return fail("capture file", -errno);
	print_result(wc);
	return 0;
}

int main(int argc, char **argv)
{
	struct wirecount wc = { .snaplen = 192 };
	const char *path = NULL;
	int option;

	wc.save_left = 1000;
	while ((option = getopt(argc, argv, "m:n:s:w:")) != -1) {
		if (option == 'm')
			wc.marker = optarg;
		else if (option == 'w')
			path = optarg;
		else if (option == 'n')
			wc.save_left = number(optarg, 1000000000);
		else if (option == 's')
			wc.snaplen = (uint32_t)number(optarg, 65535);
		else
			return usage();
	}
	if (optind == argc || argc - optind > PORTS_MAX || wc.snaplen < 64)
		return usage();
	for (; optind < argc; optind++)
		wc.ports[wc.port_count++] = (struct port){ .ifname = argv[optind], .fd = -1 };
	option = path ? pcap_create(&wc, path) : 0;
	if (option)
		return fail(path, option);
	return run(&wc);
}
