// SPDX-License-Identifier: BSD-2-Clause
#include "sa_runtime.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "ah.h"
#include "esp.h"
#include "ip_layout.h"
#include "iv_pool.h"
#include "outer.h"

int sa_runtime_init(struct sa_runtime *sa, const struct sa_config *config, struct sa_state *state,
		    const char *engine_name)
{
	const struct esp_suite *suite = suite_at(config->suite);
	struct sa_runtime new = {
		.suite = suite,
		.state = state,
		.replay = { .window = config->replay_window, .esn = config->esn },
		.src = config->src,
		.dst = config->dst,
		.spi = config->spi,
		.protect_id = config->protect_id,
		.within_id = config->within_id,
		.hard = config->hard,
		.encap_sport = config->encap_sport,
		.encap_dport = config->encap_dport,
		.proto = config->proto,
		.dscp = config->dscp,
		.df = config->df,
		.follow_peer = config->follow_peer,
		.family = config->family,
		.direction = config->direction,
		.tunnel = config->tunnel,
		.esn = config->esn,
	};

	if (!suite || !suite_serves(suite, config->proto) ||
	    config->replay_window > REPLAY_WINDOW_MAX)
		return -EINVAL;
	if (sa_key_is_weak(config))
		return -EKEYREJECTED;
	new.engine = crypto_engine_for(suite, engine_name);
	if (!new.engine)
		return -errno;
	new.key = new.engine->key_new(suite, config->key, config->mac_key);
	if (!new.key)
		return -errno;
	if (suite_random_iv(suite) && config->direction == SPD_OUT) {
		new.iv_pool = iv_pool_new();
		if (!new.iv_pool) {
			int err = -errno;

			new.engine->key_free(new.key);
			return err;
		}
	}
	*sa = new;
	return 0;
}

void sa_runtime_fini(struct sa_runtime *sa)
{
	if (sa->engine)
		sa->engine->key_free(sa->key);
	iv_pool_free(sa->iv_pool);
	*sa = (struct sa_runtime){ 0 };
}

static uint32_t cipher_align(const struct sa_runtime *sa)
{
	return sa->suite->block > 4 ? sa->suite->block : 4;
}

/* Octets that do not depend on the packet. */
static uint32_t overhead_fixed(const struct sa_runtime *sa)
{
	uint32_t fixed = sa->tunnel ? outer_length(sa) : 0;

	if (sa->proto == IPPROTO_AH)
		return fixed + ah_length(sa);
	fixed += esp_udp_length(sa);
	return fixed + ESP_HEADER_LEN + sa->suite->iv_len + ESP_TRAILER_LEN + sa->suite->icv_len;
}

uint32_t sa_overhead_max(const struct sa_runtime *sa)
{
	return overhead_fixed(sa) + (sa->proto == IPPROTO_AH ? 0 : cipher_align(sa) - 1);
}

/*
 * In transport mode the IP header stays outside, so what padding costs depends on its length too:
 * all phases of a header length (a multiple of 4) against the cipher's block are tried.
 * AH has none.
 */
uint32_t sa_inner_mtu(const struct sa_runtime *sa, uint32_t mtu)
{
	uint32_t align = cipher_align(sa), fixed = overhead_fixed(sa), least = UINT32_MAX;

	if (sa->proto == IPPROTO_AH)
		return mtu < fixed ? 0 : mtu - fixed;
	for (uint32_t header = 0; header < (sa->tunnel ? 4 : align); header += 4) {
		uint32_t outside = fixed + header, inner;

		if (mtu < outside)
			return 0;
		inner = (mtu - outside + ESP_TRAILER_LEN) / align * align;
		if (inner < ESP_TRAILER_LEN)
			return 0;
		inner += header - ESP_TRAILER_LEN;
		if (inner < least)
			least = inner;
	}
	return least;
}

void sa_protect(struct sa_runtime *sa, struct packet **packets, unsigned int count)
{
	if (sa->proto == IPPROTO_AH)
		ah_protect(sa, packets, count);
	else
		esp_encap(sa, packets, count);
}

void sa_verify(struct sa_runtime *sa, struct packet **packets, unsigned int count)
{
	if (sa->proto == IPPROTO_AH)
		ah_verify(sa, packets, count);
	else
		esp_decap(sa, packets, count);
}
