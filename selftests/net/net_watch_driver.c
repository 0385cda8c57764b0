// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/net_watch on its own, for test_next_hop.py: net_watch_driver IFNAME. Commands on stdin:
 *   track SLOT ADDRESS [on_link]    untrack SLOT    sync    addresses
 * On stdout one JSON array a line: [slot, "MAC" or null] for each report, ["sync"] when all that
 * was there has been handled, ["addresses", n] with the number of addresses in the map.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <err.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/net_watch.h"

#define SLOTS 1024

static void next_hop(void *context, uint32_t slot, uint64_t value)
{
	uint8_t mac[6];

	(void)context;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)(value >> (40 - 8 * i));
	if (value & SA_NEXT_HOP_KNOWN)
		printf("[%u, \"%02x:%02x:%02x:%02x:%02x:%02x\"]\n", slot, mac[0], mac[1], mac[2],
		       mac[3], mac[4], mac[5]);
	else
		printf("[%u, null]\n", slot);
}

static unsigned int count_addresses(int fd)
{
	struct own_address key, next;
	unsigned int count = 0;

	for (int err = bpf_map_get_next_key(fd, NULL, &next); !err; count++) {
		key = next;
		err = bpf_map_get_next_key(fd, &key, &next);
	}
	return count;
}

static void track(struct net_watch *watch, uint32_t slot, const char *address, bool on_link)
{
	struct net_watch_target target = { .on_link = on_link };

	target.family = strchr(address, ':') ? FAMILY_V6 : FAMILY_V4;
	if (inet_pton(target.family == FAMILY_V6 ? AF_INET6 : AF_INET, address,
		      &target.address) != 1)
		errx(1, "not an address: %s", address);
	net_watch_track(watch, slot, &target);
}

static void command(struct net_watch *watch, int map_fd, const char *line)
{
	char address[64], option[16] = "";
	uint32_t slot;

	if (sscanf(line, "track %u %63s %15s", &slot, address, option) >= 2) {
		track(watch, slot, address, !strcmp(option, "on_link"));
	} else if (sscanf(line, "untrack %u", &slot) == 1) {
		net_watch_untrack(watch, slot);
	} else if (!strncmp(line, "addresses", 9)) {
		printf("[\"addresses\", %u]\n", count_addresses(map_fd));
	} else if (!strncmp(line, "sync", 4)) {
		struct pollfd readable = { .fd = net_watch_fd(watch), .events = POLLIN };

		while (poll(&readable, 1, 0) > 0)
			net_watch_process(watch);
		printf("[\"sync\"]\n");
	} else {
		errx(1, "not a command: %s", line);
	}
}

int main(int argc, char **argv)
{
	struct net_watch_config config = { .slots = SLOTS, .next_hop = next_hop };
	struct net_watch *watch;
	char line[128];
	int ret;

	if (argc != 2 || !(config.ifindex = if_nametoindex(argv[1])))
		errx(2, "usage: net_watch_driver IFNAME");
	config.own_addresses_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "own_addresses",
						 sizeof(struct own_address), 1,
						 OWN_ADDRESSES_MAX, NULL);
	if (config.own_addresses_fd < 0)
		err(1, "map");
	ret = net_watch_open(&watch, &config);
	if (ret)
		errx(1, "net_watch_open: %s", strerror(-ret));
	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0);
	for (;;) {
		struct pollfd fds[] = { { .fd = 0, .events = POLLIN },
					{ .fd = net_watch_fd(watch), .events = POLLIN } };

		if (poll(fds, 2, -1) < 0)
			err(1, "poll");
		if (fds[1].revents)
			net_watch_process(watch);
		if (!fds[0].revents)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			break;
		command(watch, config.own_addresses_fd, line);
	}
	net_watch_close(watch);
	return 0;
}
