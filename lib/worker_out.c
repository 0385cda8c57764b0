// SPDX-License-Identifier: BSD-2-Clause
/*
 * OUT  host port -> tag -> SA -> segment -> sequence, encapsulate, encrypt -> wire port
 *
 * Packets that fit are laid out in frames of the wire port and protected there, a burst at a time.
 * What the stack sent in fragments, and what may be fragmented and does not fit, is made whole in a
 * buffer. A tunnel gets it in pieces that fit, as fragments: it may end at a gateway, which could
 * not hand on more than its next link carries. In transport mode it is protected whole, and cut
 * into frames afterwards (RFC 4303 3.3.4, RFC 4301 7 and 8.2).
 */
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "checksum.h"
#include "esp.h"
#include "fragment.h"
#include "icmp_error.h"
#include "ip_layout.h"
#include "keepalive.h"
#include "reservation.h"
#include "tcpip.h"
#include "worker_internal.h"

#define HOST_READS    8    /* frames taken from the host port before the wire gets its turn */
#define STOP_LEFT_MS  1    /* a full TX ring: how long to wait for the NIC, once per burst */
#define PTB_PER_S     1000 /* packet-too-big messages to our senders */
#define IPV6_MTU_MIN  1280 /* RFC 8200 section 5: what everybody may send */
#define IP_TOTAL_MAX  65535
#define MAC_SOURCE    6

/*
 * Tells the supervisor, once per reservation, that half of it is used. The reservation is read
 * once: the supervisor may extend it before write() returns, and taking the new one for asked
 * about would mean never to ask again.
 */
static void ask_for_numbers(struct worker *worker, struct worker_sa *sa)
{
	const struct sa_state *state = sa->sa.state;
	const uint64_t reserved = __atomic_load_n(&state->seq_reserved, __ATOMIC_ACQUIRE);
	const uint64_t one = 1;

	if (reserved - state->seq_next > SEQ_LOW_WATER || sa->asked_at == reserved)
		return;
	/* The counter cannot overflow: the supervisor reads it. */
	if (write(worker->config->need_fd, &one, sizeof(one)) == sizeof(one))
		sa->asked_at = reserved;
}

/* ---- sending ------------------------------------------------------------------------------- */

/* Puts a packet on the wire. False if it is lost, which is counted. */
static bool transmit(struct worker *worker, struct packet *packet)
{
	struct wire_port *port = worker->tx_port;

	if (packet->state == PACKET_PROTECTED) {
		if (wire_port_send(port, packet)) {
			worker->stats->wire_tx++;
			return true;
		}
		wire_port_kick(port);
		if (wire_port_send(port, packet)) {
			worker->stats->wire_tx++;
			return true;
		}
		packet->drop = DROP_NO_BUFFER;
	}
	count_drop(worker, packet->drop, 1);
	wire_port_unframe(port, packet);
	return false;
}

static void drop_all(struct packet **packets, unsigned int count, enum drop_reason reason)
{
	for (unsigned int i = 0; i < count; i++)
		if (packets[i]->state != PACKET_DEAD)
			packet_drop(packets[i], reason);
}

/* One SA's part. Does the SA around it, if there is one, come next? */
static bool protect_by(struct worker *worker, struct worker_sa *sa, struct packet **packets,
		       unsigned int count)
{
	if (worker_sa_expired(worker, sa)) {
		drop_all(packets, count, DROP_LIFETIME);
		return false;
	}
	sa_protect(&sa->sa, packets, count);
	sa->sa.state->used_ns = worker->now_ns;
	ask_for_numbers(worker, sa);
	if (!sa->sa.within_id)
		return false;
	for (unsigned int i = 0; i < count; i++)
		if (packets[i]->state == PACKET_PROTECTED)
			packets[i]->state = PACKET_CLEAR;
	return true;
}

/*
 * Gives the packets to the SA and, if it lies within others, to those. Returns the outermost SA, or
 * NULL with all packets DEAD if one of them is missing or its time has come: nothing leaves with
 * less than policy says.
 */
static struct worker_sa *protect(struct worker *worker, struct worker_sa *sa,
				 struct packet **packets, unsigned int count)
{
	for (unsigned int depth = 0; sa && depth < BUNDLE_MAX; depth++) {
		if (!protect_by(worker, sa, packets, count))
			return sa;
		sa = worker_sas_around(&worker->sas, sa);
	}
	drop_all(packets, count, DROP_NO_SA_OUT);
	return NULL;
}

/*
 * The next hop's address on the link: the one the stack has put there, unless the supervisor knows
 * that of the way to the outer destination. Keep-alives go the same way, also by a later worker.
 */
static void direct(const struct worker *worker, struct worker_sa *sa, struct packet **packets,
		   unsigned int count)
{
	struct sa_state *state = sa->sa.state;
	uint64_t hop = __atomic_load_n(&state->next_hop, __ATOMIC_RELAXED);
	uint8_t mac[8];

	store_be32(mac, (uint32_t)(hop >> 32));
	store_be32(mac + 4, (uint32_t)hop);
	for (unsigned int i = 0; i < count; i++) {
		if (packets[i]->state != PACKET_PROTECTED)
			continue;
		if (hop & SA_NEXT_HOP_KNOWN)
			memcpy(packets[i]->data, mac + 2, 6);
		if (sa->keepalive_ns && packets[i]->l2_len <= sizeof(state->link)) {
			sa->sent_ns = worker->now_ns;
			memcpy(state->link, packets[i]->data, packets[i]->l2_len);
			state->link_len = packets[i]->l2_len;
		}
	}
}

void worker_out_flush(struct worker *worker)
{
	struct packet *burst[BURST];
	struct worker_sa *outermost;

	if (!worker->tx_count)
		return;
	for (unsigned int i = 0; i < worker->tx_count; i++)
		burst[i] = &worker->tx[i];
	outermost = protect(worker, worker->tx_sa, burst, worker->tx_count);
	if (outermost)
		direct(worker, outermost, burst, worker->tx_count);
	for (unsigned int i = 0; i < worker->tx_count; i++)
		transmit(worker, burst[i]);
	worker->tx_count = 0;
}

/* A frame for sending; if all are on their way, waits for the NIC a little. */
static bool take_frame(struct worker *worker, struct packet *packet, uint32_t *ret_room)
{
	struct pollfd wait = { .fd = wire_port_fd(worker->tx_port), .events = POLLOUT };

	if (wire_port_frame(worker->tx_port, packet, ret_room))
		return true;
	worker_out_flush(worker);
	wire_port_kick(worker->tx_port);
	poll(&wait, 1, STOP_LEFT_MS);
	return wire_port_frame(worker->tx_port, packet, ret_room);
}

/* From now on packets are of this SA. */
static void turn_to(struct worker *worker, struct worker_sa *sa)
{
	const struct worker_config *config = worker->config;

	if (sa == worker->tx_sa)
		return;
	worker_out_flush(worker);
	worker->tx_sa = sa;
	/* The outermost SA stays on one queue: its packets leave in order of their numbers. */
	for (unsigned int depth = 0; sa->sa.within_id && depth < BUNDLE_MAX; depth++) {
		struct worker_sa *around = worker_sas_around(&worker->sas, sa);

		if (!around)
			break;
		sa = around;
	}
	worker->tx_port = &config->ports[sa->sa.slot % config->port_count];
}

/* ---- packets that fit ---------------------------------------------------------------------- */

/* Packets that a frame is still to be cut into. */
static unsigned int packets_left(const struct segment_iter *iter)
{
	uint32_t octets = iter->end - iter->payload_off - iter->next;

	return iter->tcp_split && octets ? (octets + iter->mss - 1) / iter->mss : 1;
}

/* Puts a packet in a frame of the wire port behind those that wait for their SA. */
static void gather(struct worker *worker, const struct packet *packet)
{
	worker->tx[worker->tx_count++] = *packet;
	if (worker->tx_count == BURST)
		worker_out_flush(worker);
}

static void cut(struct worker *worker, struct segment_iter *iter)
{
	struct packet packet;
	uint32_t room;

	while (!iter->done) {
		unsigned int left = packets_left(iter);

		if (!take_frame(worker, &packet, &room)) {
			count_drop(worker, DROP_NO_BUFFER, left);
			return;
		}
		if (!segment_next(iter, &packet, room) || packet.state == PACKET_DEAD) {
			count_drop(worker, packet.drop, left);
			wire_port_unframe(worker->tx_port, &packet);
			return;
		}
		packet.tailroom = (uint16_t)(room + PACKET_TAILROOM - packet.len);
		worker->stats->host_rx_segments++;
		gather(worker, &packet);
	}
}

/* ---- packets that do not ------------------------------------------------------------------- */

/* A packet in a buffer of its own, on its way out. */
struct whole {
	struct packet *packet;
	bool divisible;		/* its sender lets it be fragmented */
	struct reassembly_origin origin;	/* of what came in fragments; otherwise 0 */
	bool ours;		/* an SA within the bundle has made it */
};

/* What is sent in fragments may be fragmented: so says its IPv4 header, from here on. */
static void clear_df(struct packet *packet)
{
	uint8_t *ip = packet->data + packet->l2_len;

	if (packet->family == FAMILY_V4)
		ipv4_store_be16(ip, IPV4_FRAGMENT,
				load_be16(ip + IPV4_FRAGMENT) & (uint16_t)~IPV4_DF);
}

/* The next fragment, in a frame of the wire port. DROP_NONE, or why there is none. */
static enum drop_reason next_fragment(struct worker *worker, struct fragment_iter *iter,
				      struct packet *packet)
{
	uint32_t room;

	if (!take_frame(worker, packet, &room))
		return DROP_NO_BUFFER;
	fragment_next(iter, packet, room);
	if (packet->state == PACKET_DEAD) {
		wire_port_unframe(worker->tx_port, packet);
		return packet->drop;
	}
	packet->tailroom = (uint16_t)(room + PACKET_TAILROOM - packet->len);
	return DROP_NONE;
}

/*
 * Gives a packet to the tunnel that worker->tx_sa is, in fragments: to a tunnel each of them is a
 * packet, and counted as one. None is larger than those in which the packet came: there may be a
 * reason for their size behind the tunnel's end.
 */
static void divide(struct worker *worker, const struct whole *whole, uint32_t mtu)
{
	uint32_t left, id = whole->origin.largest ? whole->origin.id : worker->fragment_id++;
	struct fragment_iter iter;
	enum drop_reason reason;
	struct packet packet;

	if (whole->origin.largest && whole->origin.largest < mtu)
		mtu = whole->origin.largest;
	reason = fragment_start(&iter, whole->packet, mtu, id);
	if (reason != DROP_NONE) {
		count_drop(worker, reason, 1);
		return;
	}
	for (left = fragment_left(&iter); left; left--) {
		reason = next_fragment(worker, &iter, &packet);
		if (reason != DROP_NONE) {
			count_drop(worker, reason, left);
			return;
		}
		worker->stats->host_rx_segments += !whole->ours;
		gather(worker, &packet);
	}
	worker->stats->fragmented_out += !iter.whole;
}

static uint32_t ip_length(const struct packet *packet)
{
	return packet->len - packet->l2_len;
}

/*
 * Sends a protected packet, in fragments if it does not fit. Without one of them it is lost: that
 * is one packet, and those behind are not sent.
 */
static void send_protected(struct worker *worker, struct packet *whole, uint32_t mtu)
{
	bool fits = ip_length(whole) <= mtu;
	struct fragment_iter iter;
	enum drop_reason reason;
	struct packet packet;

	if (!fits)
		clear_df(whole);
	reason = fragment_start(&iter, whole, mtu, worker->fragment_id++);
	while (reason == DROP_NONE && !iter.done) {
		reason = next_fragment(worker, &iter, &packet);
		if (reason == DROP_NONE && !transmit(worker, &packet))
			return;
	}
	if (reason != DROP_NONE)
		count_drop(worker, reason, 1);
	else
		worker->stats->fragmented_out += !fits;
}

/*
 * Takes a whole packet through its SAs. Where a tunnel begins and the packet does not fit, it goes
 * on in fragments; what no SA may cut is cut at the end, and put together by the SA's other end.
 */
static void send_whole(struct worker *worker, struct worker_sa *sa, struct whole *whole)
{
	struct packet *packet = whole->packet;

	for (unsigned int depth = 0; sa && depth < BUNDLE_MAX; depth++) {
		uint32_t inner = worker_sas_inner_mtu(&worker->sas, sa, worker->now_ns);

		turn_to(worker, sa);
		if (sa->sa.tunnel && whole->divisible &&
		    (ip_length(packet) > inner || whole->origin.largest)) {
			divide(worker, whole, inner);
			return;
		}
		worker_out_flush(worker);
		worker->stats->host_rx_segments += !whole->ours;
		if (!protect_by(worker, sa, &packet, 1) || packet->state == PACKET_DEAD)
			break;
		/* What we have made is ours to cut. */
		whole->divisible = whole->ours = true;
		whole->origin.largest = 0;
		clear_df(packet);
		sa = worker_sas_around(&worker->sas, sa);
	}
	if (packet->state == PACKET_CLEAR)
		packet_drop(packet, DROP_NO_SA_OUT);
	if (packet->state == PACKET_DEAD) {
		count_drop(worker, packet->drop, 1);
		return;
	}
	direct(worker, sa, &packet, 1);
	send_protected(worker, packet, worker_sas_mtu(&worker->sas, sa, worker->now_ns));
}

/* Tells a sender how large its packets may be (RFC 4301 8.2.1: the MTU less the overhead). */
static void tell_too_big(struct worker *worker, const struct host_frame *frame, uint32_t mtu)
{
	struct virtio_net_hdr vnet = { 0 };
	uint8_t message[ICMP_ERROR_MAX];
	struct iovec iov[] = { { &vnet, sizeof(vnet) }, { message, 0 } };
	struct host_tag tag = { .magic = HOST_TAG_LOCAL_ICMP };

	if (worker->ptb_window != worker->now_ns / 1000000000u) {
		worker->ptb_window = worker->now_ns / 1000000000u;
		worker->ptb_sent = 0;
	}
	if (worker->ptb_sent++ >= PTB_PER_S)
		return;
	iov[1].iov_len = icmp_too_big(frame, mtu, message);
	if (!iov[1].iov_len)
		return;
	memcpy(message, &tag, sizeof(tag));
	if (host_port_write(worker->config->host, iov, 2))
		count_drop(worker, DROP_HOST_PORT, 1);
}

/* One fragment as the stack sent it. With the last of its packet, that goes out. */
static void take_fragment(struct worker *worker, struct worker_sa *sa,
			  const struct segment_iter *iter)
{
	const struct packet fragment = {
		.data = iter->frame->data,
		.len = iter->end,
		.l2_len = iter->l2_len,
		.family = iter->family,
		.state = PACKET_CLEAR,
	};
	struct whole whole = { .divisible = true };
	enum drop_reason reason;
	uint32_t dropped = 0;

	if (!sa->reassemble) {
		count_drop(worker, DROP_FRAGMENT_POLICY, 1);
		return;
	}
	reason = reassembly_add(worker->out_fragments, &fragment, sa->sa.slot, worker->now_ns,
				&whole.packet, &dropped);
	/* Without a reason of its own: what had to give way to this one. */
	count_drop(worker, reason == DROP_NONE ? DROP_REASSEMBLY_FULL : reason, dropped);
	if (reason == DROP_NONE && whole.packet) {
		worker->stats->reassembled_out++;
		whole.origin = reassembly_origin(whole.packet);
		send_whole(worker, sa, &whole);
		reassembly_release(worker->out_fragments, whole.packet);
	}
}

/* Does a tunnel that the packet goes into set DF, whatever the packet itself says? */
static bool df_is_set(const struct worker *worker, const struct worker_sa *sa)
{
	for (unsigned int depth = 0; sa && depth < BUNDLE_MAX; depth++) {
		if (sa->sa.tunnel && sa->sa.family == FAMILY_V4 && sa->sa.df == DF_SET)
			return true;
		sa = sa->sa.within_id ? worker_sas_around(&worker->sas, sa) : NULL;
	}
	return false;
}

/*
 * May this packet be sent in fragments? IPv4 says so itself. An IPv6 sender may count on 1280
 * octets: what does not fit then is the tunnel's own affair (RFC 2473 7.1).
 */
static bool may_fragment(const struct worker *worker, const struct segment_iter *iter,
			 const struct worker_sa *sa)
{
	const uint8_t *ip = iter->frame->data + iter->l2_len;

	if (iter->frame->vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE || df_is_set(worker, sa))
		return false;
	if (iter->family == FAMILY_V4)
		return !(load_be16(ip + IPV4_FRAGMENT) & IPV4_DF);
	return iter->end - iter->l2_len <= IPV6_MTU_MIN;
}

static void send_too_big(struct worker *worker, struct worker_sa *sa, struct segment_iter *iter,
			 uint32_t mtu)
{
	const struct host_frame *frame = iter->frame;
	struct whole whole = { .divisible = iter->family == FAMILY_V4 };
	uint32_t room;

	if (!may_fragment(worker, iter, sa)) {
		count_drop(worker, DROP_TOO_BIG, 1);
		if (iter->family == FAMILY_V6 && mtu < IPV6_MTU_MIN)
			mtu = IPV6_MTU_MIN;
		tell_too_big(worker, frame, mtu);
		return;
	}
	whole.packet = reassembly_buffer(worker->out_fragments, &room);
	if (!whole.packet) {
		count_drop(worker, DROP_NO_BUFFER, 1);
		return;
	}
	if (segment_start(iter, frame, IP_TOTAL_MAX) == DROP_NONE &&
	    segment_next(iter, whole.packet, room) && whole.packet->state == PACKET_CLEAR) {
		room += PACKET_TAILROOM - whole.packet->len;
		whole.packet->tailroom = (uint16_t)(room < UINT16_MAX ? room : UINT16_MAX);
		send_whole(worker, sa, &whole);
	} else {
		count_drop(worker, DROP_TOO_BIG, 1);
	}
	reassembly_release(worker->out_fragments, whole.packet);
}

/* ---- frames from the host port ------------------------------------------------------------- */

static struct worker_sa *tagged_sa(struct worker *worker, const struct host_frame *frame,
				   enum drop_reason *ret_reason)
{
	struct host_tag tag;
	struct worker_sa *sa;

	memcpy(&tag, frame->data + MAC_SOURCE, sizeof(tag));
	if (tag.magic != HOST_TAG_SA) {
		*ret_reason = DROP_HOST_TAG;
		return NULL;
	}
	sa = worker_sas_outbound(&worker->sas, load_be32(tag.slot), tag.sa_gen);
	*ret_reason = !sa ? DROP_STALE_SA
			  : worker_sa_expired(worker, sa) ? DROP_LIFETIME : DROP_NONE;
	return *ret_reason == DROP_NONE ? sa : NULL;
}

static void outbound(struct worker *worker, struct host_frame *frame)
{
	struct segment_iter iter;
	enum drop_reason reason;
	struct worker_sa *sa;
	uint32_t mtu;

	sa = tagged_sa(worker, frame, &reason);
	if (!sa) {
		count_drop(worker, reason, 1);
		return;
	}
	memcpy(frame->data + MAC_SOURCE, worker->config->nic_mac, sizeof(worker->config->nic_mac));
	mtu = worker_sas_inner_mtu(&worker->sas, sa, worker->now_ns);
	reason = segment_start(&iter, frame, mtu);
	if ((reason == DROP_NONE || reason == DROP_TOO_BIG) && iter.l4_proto == IPPROTO_FRAGMENT) {
		take_fragment(worker, sa, &iter);
	} else if (reason == DROP_TOO_BIG) {
		send_too_big(worker, sa, &iter, mtu);
	} else if (reason != DROP_NONE) {
		count_drop(worker, reason, 1);
	} else {
		turn_to(worker, sa);
		cut(worker, &iter);
	}
}

bool worker_out_round(struct worker *worker)
{
	const struct worker_config *config = worker->config;
	struct host_frame frame;
	unsigned int frames = 0;

	while (frames < HOST_READS &&
	       host_port_read(config->host, worker->host_buffer, &frame) == 1) {
		worker->stats->host_rx++;
		outbound(worker, &frame);
		frames++;
	}
	worker->host_ready = frames == HOST_READS;
	worker_out_flush(worker);
	for (uint32_t i = 0; i < config->port_count; i++)
		if (config->ports[i].queued)
			wire_port_kick(&config->ports[i]);
	return frames;
}

/* ---- time ---------------------------------------------------------------------------------- */

/* One octet that keeps a NAT's mapping alive. */
static void send_keepalive(struct worker *worker, struct worker_sa *sa)
{
	struct packet packet, *at = &packet;
	uint32_t room;

	turn_to(worker, sa);
	if (!take_frame(worker, &packet, &room))
		return;
	packet.l2_len = sa->sa.state->link_len;
	memcpy(packet.data, sa->sa.state->link, packet.l2_len);
	packet.len = packet.l2_len + keepalive_write(&sa->sa, packet.data + packet.l2_len);
	packet.state = PACKET_PROTECTED;	/* nothing in it is secret */
	direct(worker, sa, &at, 1);
	transmit(worker, &packet);
	wire_port_kick(worker->tx_port);
	worker->stats->keepalives++;
}

/* In memory that BPF shows to root only; a length beyond the field is nobody's. */
static bool link_known(const struct worker_sa *sa)
{
	const struct sa_state *state = sa->sa.state;

	return state->link_len && state->link_len <= sizeof(state->link);
}

void worker_out_tick(struct worker *worker)
{
	struct worker_sas *sas = &worker->sas;

	count_drop(worker, DROP_REASSEMBLY_TIME,
		   reassembly_expire(worker->out_fragments, worker->now_ns));
	for (uint32_t slot = 1; sas->keepalives && slot < sas->slots; slot++) {
		struct worker_sa *sa = sas->by_slot[slot];

		/* Before the first packet there is no mapping to keep, and no way known. */
		if (sa && sa->keepalive_ns && link_known(sa) && !worker_sa_expired(worker, sa) &&
		    worker->now_ns - sa->sent_ns >= sa->keepalive_ns)
			send_keepalive(worker, sa);
	}
}
