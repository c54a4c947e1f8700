/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once

/*
 * SYN-ACK to ACK, by the first smoothed RTT of an accepted connection; 0 = not known. Behind a
 * SYN cookie it comes from the timestamp option, whose low six bits were the cookie's: up to
 * 64 ms too long. Such a time is whole milliseconds, which of the others one in a thousand is;
 * those of a SYN-ACK that was sent again are, too, and true.
 */
static __always_inline __u32 synack_us(__u32 srtt_us, __u32 total_retrans)
{
	__u32 us = srtt_us >> 3;

	return us % 1000 == 0 && !total_retrans ? 0 : us;
}
