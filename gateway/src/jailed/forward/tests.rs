//! What goes in, what comes out, and what is said of where a request came from.

use super::*;

fn visit(known: bool) -> Visit {
    Visit { base: "/user/ada/".into(), known, https: false, ours: vec!["carrel-door=7.x".into()] }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    map
}

#[test]
fn our_cookies_stay_here_and_all_others_go_in() {
    let all = headers(&[
        ("cookie", "a=1; carrel-door=7.x; carrel-door=forged"),
        ("cookie", "jupyterhub-user-ada=2|1:0"),
        ("authorization", "token t"),
        ("connection", "keep-alive, X-Odd"),
        ("x-odd", "1"),
    ]);
    let kept = inward(&all, &visit(true));
    assert_eq!(kept["cookie"], "a=1; carrel-door=forged; jupyterhub-user-ada=2|1:0");
    assert!(kept.contains_key("authorization") && !kept.contains_key("x-odd"));
    assert!(!inward(&headers(&[("cookie", "carrel-door=7.x")]), &visit(true)).contains_key("cookie"));
}

#[test]
fn a_server_speaks_for_its_own_addresses_only() {
    let all = headers(&[
        ("set-cookie", "mine=1; Path=/user/ada/; HttpOnly"),
        ("set-cookie", "deep=1; path=/user/ada/lab"),
        ("set-cookie", "plain=1"),
        ("set-cookie", "jupyterhub-hub-login=stolen; Path=/hub/"),
        ("set-cookie", "root=1; Path=/"),
        ("set-cookie", "other=1; Path=/user/adam/"),
        ("set-cookie", "wide=1; Path=/user/ada/; Domain=example.org"),
        ("service-worker-allowed", "/"),
        ("clear-site-data", "\"*\""),
        ("content-security-policy", "frame-ancestors 'self'"),
    ]);
    let kept = outward(&all, &visit(true));
    let cookies: Vec<_> = kept.get_all("set-cookie").iter().map(|c| &c.to_str().unwrap()[..4]).collect();
    assert_eq!(cookies, ["mine", "deep", "plai"]);
    assert!(!kept.contains_key("service-worker-allowed") && !kept.contains_key("clear-site-data"));
    assert_eq!(kept.get_all("content-security-policy").iter().count(), 1);
    let strange = outward(&all, &visit(false));
    assert!(strange.get_all("content-security-policy").iter().any(|policy| policy == "sandbox"));
}

#[test]
fn where_a_request_came_from_is_said_as_jupyterhub_s_proxy_does() {
    let mut request = Request::new(Body::empty());
    *request.headers_mut() =
        headers(&[("host", "here:8000"), ("x-forwarded-for", "10.1.1.1"), ("x-forwarded-proto", "https")]);
    let said = |request: &Request| forwarded(&visit(true), request).map(|(_, value)| value);
    request.extensions_mut().insert(Peer("127.0.0.1:5".parse().unwrap()));
    assert_eq!(said(&request), ["10.1.1.1, 127.0.0.1", "here:8000", "8000", "https"]);
    request.extensions_mut().insert(Peer("9.9.9.9:5".parse().unwrap()));
    assert_eq!(said(&request), ["9.9.9.9", "here:8000", "8000", "http"], "a stranger is not believed");
}
