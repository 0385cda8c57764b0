// SPDX-License-Identifier: BSD-2-Clause
/* Offloads, channels and RSS of a NIC, by ethtool's ioctls. */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic_features.h"

#define FEATURES_MAX 1024 /* names; kernels have about 64 */
#define BLOCK_BITS   32
#define RSS_MAX	     65536 /* entries of an RSS table */

static int ask(const char *ifname, void *command)
{
	struct ifreq request = { .ifr_data = command };
	int err, fd;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	err = ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
	close(fd);
	return err;
}

/* ---- offloads: the kernel has numbered them differently over time, so they go by name -------- */

static int count_features(const char *ifname, uint32_t *ret_count)
{
	struct {
		struct ethtool_sset_info head;
		uint32_t count;
	} info = { .head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };
	int err = ask(ifname, &info);

	if (err)
		return err;
	if (!info.head.sset_mask || !info.count || info.count > FEATURES_MAX)
		return -EOPNOTSUPP;
	*ret_count = info.count;
	return 0;
}

static bool has_bit(uint32_t block, uint32_t index)
{
	return block >> index % BLOCK_BITS & 1;
}

static void note_feature(const struct ethtool_gstrings *names,
			 const struct ethtool_gfeatures *features, uint32_t index,
			 struct nic_offloads *offloads)
{
	static const char *const words[] = {
#define X(name, word) word,
		NIC_OFFLOADS(X)
#undef X
	};
	const char *name = (const char *)names->data + (size_t)index * ETH_GSTRING_LEN;
	const struct ethtool_get_features_block *block = &features->features[index / BLOCK_BITS];

	for (size_t i = 0; i < NIC_OFFLOAD_COUNT; i++) {
		if (strncmp(name, words[i], ETH_GSTRING_LEN) != 0)
			continue;
		offloads->on[i] = has_bit(block->active, index);
		offloads->fixed[i] =
			has_bit(block->never_changed, index) || !has_bit(block->available, index);
	}
}

int nic_offloads(const char *ifname, struct nic_offloads *ret_offloads)
{
	struct ethtool_gfeatures *features = NULL;
	struct ethtool_gstrings *names = NULL;
	struct nic_offloads offloads = { 0 };
	uint32_t count, blocks;
	int err = count_features(ifname, &count);

	if (err)
		return err;
	blocks = (count + BLOCK_BITS - 1) / BLOCK_BITS;
	names = calloc(1, sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	features = calloc(1, sizeof(*features) + blocks * sizeof(features->features[0]));
	if (!names || !features) {
		err = -ENOMEM;
		goto out;
	}
	*names = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS,
					    .string_set = ETH_SS_FEATURES,
					    .len = count };
	*features = (struct ethtool_gfeatures){ .cmd = ETHTOOL_GFEATURES, .size = blocks };
	err = ask(ifname, names);
	if (!err)
		err = ask(ifname, features);
	if (err)
		goto out;
	for (uint32_t i = 0; i < count; i++)
		note_feature(names, features, i, &offloads);
	*ret_offloads = offloads;
out:
	free(features);
	free(names);
	return err;
}

/* ---- queues ---------------------------------------------------------------------------------- */

int nic_channels(const char *ifname, struct nic_channels *ret_channels)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	int err = ask(ifname, &channels);

	if (err)
		return err;
	*ret_channels = (struct nic_channels){
		.rx = channels.rx_count,
		.tx = channels.tx_count,
		.combined = channels.combined_count,
		.max_rx = channels.max_rx,
		.max_tx = channels.max_tx,
		.max_combined = channels.max_combined,
	};
	return 0;
}

static uint32_t count_different(const uint32_t *queues, uint32_t len)
{
	uint64_t seen[16] = { 0 }; /* queues up to 1023 */
	uint32_t count = 0;

	for (uint32_t i = 0; i < len; i++) {
		uint64_t bit = 1ull << queues[i] % 64;

		if (queues[i] / 64 >= 16 || seen[queues[i] / 64] & bit)
			continue;
		seen[queues[i] / 64] |= bit;
		count++;
	}
	return count;
}

int nic_rss_queues(const char *ifname, uint32_t *ret_queues)
{
	struct ethtool_rxfh_indir size = { .cmd = ETHTOOL_GRXFHINDIR }, *table;
	int err = ask(ifname, &size);

	if (err)
		return err;
	if (!size.size || size.size > RSS_MAX)
		return -EOPNOTSUPP;
	table = calloc(1, sizeof(*table) + size.size * sizeof(table->ring_index[0]));
	if (!table)
		return -ENOMEM;
	*table = size;
	err = ask(ifname, table);
	if (!err)
		*ret_queues = count_different(table->ring_index, size.size);
	free(table);
	return err;
}
