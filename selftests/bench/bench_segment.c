// SPDX-License-Identifier: BSD-2-Clause
/*
 * Cost of segmentation and coalescing per segment, on 64 KiB super-packets that rotate through
 * buffers as in the worker; memcpy of the same octets as the yardstick in the same round.
 * Prints medians and ranges. Not a test: the figures are the machine's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../unit/frames.h"
#include "lib/checksum.h"
#include "lib/coalesce.h"
#include "lib/segment.h"

#define ROUNDS		15
#define REPEATS		400	/* super-packets per round and arm */
#define FRAMES		4096	/* of the UMEM: 8 MiB */
#define FRAME_SIZE	2048
#define MSS		1408
#define PAYLOAD		(46 * MSS)
#define SEGMENTS_MAX	46

enum arm { ARM_COPY, ARM_COPY_SUM, ARM_SEGMENT, ARM_COALESCE, ARM_COUNT };
static const char *const arm_names[ARM_COUNT] = {
	"memcpy of the payload", "checksum_copy of the payload", "segment_next", "coalesce",
};

struct bench {
	uint8_t *umem;
	uint8_t super[FRAME_MAX];
	struct host_frame frame;
	struct packet packets[SEGMENTS_MAX];
	unsigned int count, next_frame;
	uint64_t sink;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint8_t *next_buffer(struct bench *bench)
{
	bench->next_frame = (bench->next_frame + 1) % FRAMES;
	return bench->umem + (size_t)bench->next_frame * FRAME_SIZE + PACKET_HEADROOM;
}

static void emit(void *context, struct coalesced *frame)
{
	struct bench *bench = context;

	bench->sink += frame->packets;
}

static void cut(struct bench *bench)
{
	struct segment_iter iter;

	bench->count = 0;
	if (segment_start(&iter, &bench->frame, 1500) != DROP_NONE)
		abort();
	do {
		if (bench->count < SEGMENTS_MAX)
			bench->packets[bench->count].data = next_buffer(bench);
	} while (bench->count < SEGMENTS_MAX &&
		 segment_next(&iter, &bench->packets[bench->count], FRAME_SIZE - PACKET_HEADROOM) &&
		 ++bench->count);
	if (bench->count != SEGMENTS_MAX)
		abort();
}

static void copy(struct bench *bench, bool sum)
{
	const uint8_t *from = bench->super + bench->frame.len - PAYLOAD;

	for (unsigned int i = 0; i < SEGMENTS_MAX; i++, from += MSS) {
		uint8_t *to = next_buffer(bench) + 66;

		if (sum)
			bench->sink += checksum_copy(0, to, from, MSS);
		else
			memcpy(to, from, MSS);
		__asm__ volatile("" : : "r"(to) : "memory");
	}
}

/* Nanoseconds per segment of one round of one arm. */
static double run(struct bench *bench, struct coalescer *coalescer, enum arm arm)
{
	uint64_t spent = 0;

	for (unsigned int i = 0; i < REPEATS; i++) {
		uint64_t start;

		if (arm == ARM_COALESCE)
			cut(bench);	/* fresh headers; not counted */
		start = now_ns();
		if (arm == ARM_COALESCE) {
			for (unsigned int k = 0; k < bench->count; k++)
				coalesce_add(coalescer, &bench->packets[k], 1, 1);
			coalesce_flush(coalescer);
		} else if (arm == ARM_SEGMENT) {
			cut(bench);
		} else {
			copy(bench, arm == ARM_COPY_SUM);
		}
		spent += now_ns() - start;
	}
	return (double)spent / REPEATS / SEGMENTS_MAX;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct bench *bench, enum ip_family family)
{
	static double times[ARM_COUNT][ROUNDS];
	static uint8_t payload[PAYLOAD];
	static struct coalescer coalescer;
	struct frame_spec spec = frame_default(family);
	uint64_t seed = 1;

	coalesce_init(&coalescer, emit, bench);
	fill_random(&seed, payload, sizeof(payload));
	spec.payload = payload;
	spec.payload_len = PAYLOAD;
	spec.csum = CSUM_PARTIAL;
	bench->frame.data = bench->super;
	bench->frame.len = build_frame(&spec, bench->super);
	bench->frame.vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = family == FAMILY_V4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
						  VIRTIO_NET_HDR_GSO_TCPV6,
		.gso_size = MSS, .csum_start = (uint16_t)frame_l4_off(&spec), .csum_offset = 16,
	};
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 0; i < ARM_COUNT; i++) {
			int arm = round & 1 ? ARM_COUNT - 1 - i : i;

			times[arm][round] = run(bench, &coalescer, (enum arm)arm);
		}
	for (int arm = 0; arm < ARM_COUNT; arm++) {
		qsort(times[arm], ROUNDS, sizeof(double), by_value);
		printf("IPv%d  %-30s %7.1f ns per segment of %u octets (%.1f to %.1f)\n",
		       family == FAMILY_V4 ? 4 : 6, arm_names[arm], times[arm][ROUNDS / 2], MSS,
		       times[arm][0], times[arm][ROUNDS - 1]);
	}
}

int main(void)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	if (!bench)
		return EXIT_FAILURE;
	bench->umem = calloc(FRAMES, FRAME_SIZE);
	if (!bench->umem)
		return EXIT_FAILURE;
	measure(bench, FAMILY_V4);
	measure(bench, FAMILY_V6);
	free(bench->umem);
	free(bench);
	return EXIT_SUCCESS;
}
