// Apart from the rest: linux/tcp.h and netinet/tcp.h cannot be seen by one file.
#include <linux/tcp.h>
#include <stddef.h>

extern const size_t tcp_info_bytes_acked_offset;
const size_t tcp_info_bytes_acked_offset = offsetof(struct tcp_info, tcpi_bytes_acked);
