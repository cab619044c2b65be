"""User-facing texts about requests as such, in English and Chinese."""

TEXTS: dict[str, tuple[str, str]] = {
    "body_missing": ("The body is missing; send JSON.", "缺少请求正文，请发送 JSON。"),
    "body_not_json": ("The body is not valid JSON: {reason}.", "请求正文不是有效的 JSON：{reason}。"),
    "body_type": (
        "The body is of type {type!r}; send it as application/json.",
        "请求正文的类型为 {type!r}，请以 application/json 发送。",
    ),
    "body_too_large": (
        "The body is too large; {limit} bytes are taken.",
        "请求正文过大，最多 {limit} 字节。",
    ),
    "no_address": (
        "There is nothing at this address, or it is not for you; /schema shows what there is.",
        "此地址不存在或您无权访问；可用地址见 /schema。",
    ),
    "no_method": (
        "This address does not take {method}; the header Allow names what it takes.",
        "此地址不支持 {method}；支持的方法见 Allow 响应头。",
    ),
}
