-- Correlated filters, nested subqueries, EXISTS with OR, quantified comparisons, LATERAL.

-- name: returns_above_the_stores_average
WITH returns AS (
  SELECT sr_customer_sk AS customer, sr_store_sk AS store, sum(sr_return_amt) AS total
  FROM tpcds.store_returns JOIN tpcds.date_dim ON sr_returned_date_sk = d_date_sk
  WHERE d_year = 2000 GROUP BY sr_customer_sk, sr_store_sk)
SELECT c_customer_id, r.total
FROM returns r JOIN tpcds.store ON s_store_sk = r.store JOIN tpcds.customer ON c_customer_sk = r.customer
WHERE r.total > (SELECT avg(CAST(total AS DOUBLE)) * 1.2 FROM returns other WHERE other.store = r.store)
ORDER BY c_customer_id, r.total
LIMIT 50;

-- name: cheap_items_of_their_category
SELECT a.ca_state, count(*) AS lines
FROM tpcds.customer_address a
JOIN tpcds.customer c ON a.ca_address_sk = c.c_current_addr_sk
JOIN tpcds.store_sales s ON c.c_customer_sk = s.ss_customer_sk
JOIN tpcds.date_dim d ON s.ss_sold_date_sk = d.d_date_sk
JOIN tpcds.item i ON s.ss_item_sk = i.i_item_sk
WHERE d.d_month_seq = (SELECT DISTINCT d_month_seq FROM tpcds.date_dim WHERE d_year = 2001 AND d_moy = 1)
  AND i.i_current_price > 1.2 * (SELECT avg(CAST(j.i_current_price AS DOUBLE)) FROM tpcds.item j WHERE j.i_category = i.i_category)
GROUP BY a.ca_state
HAVING count(*) >= 5
ORDER BY lines, a.ca_state NULLS LAST;

-- name: exists_or_exists
SELECT cd_gender, cd_marital_status, count(*) AS customers
FROM tpcds.customer c JOIN tpcds.customer_demographics ON cd_demo_sk = c.c_current_cdemo_sk
WHERE EXISTS (SELECT 1 FROM tpcds.store_sales, tpcds.date_dim WHERE c.c_customer_sk = ss_customer_sk AND ss_sold_date_sk = d_date_sk AND d_year = 2002)
  AND (EXISTS (SELECT 1 FROM tpcds.web_sales, tpcds.date_dim WHERE c.c_customer_sk = ws_bill_customer_sk AND ws_sold_date_sk = d_date_sk AND d_year = 2002)
    OR EXISTS (SELECT 1 FROM tpcds.catalog_sales, tpcds.date_dim WHERE c.c_customer_sk = cs_ship_customer_sk AND cs_sold_date_sk = d_date_sk AND d_year = 2002))
GROUP BY cd_gender, cd_marital_status
ORDER BY cd_gender, cd_marital_status;

-- name: orders_shipped_from_several_places
SELECT count(DISTINCT cs1.cs_order_number) AS orders, sum(cs1.cs_ext_ship_cost) AS shipping, sum(cs1.cs_net_profit) AS profit
FROM tpcds.catalog_sales cs1
WHERE EXISTS (SELECT 1 FROM tpcds.catalog_sales cs2 WHERE cs1.cs_order_number = cs2.cs_order_number AND cs1.cs_ship_mode_sk <> cs2.cs_ship_mode_sk)
  AND NOT EXISTS (SELECT 1 FROM tpcds.catalog_returns WHERE cs1.cs_order_number = cr_order_number);

-- name: discount_above_the_items_usual
SELECT sum(ws_ext_discount_amt) AS excess, count(*) AS lines
FROM tpcds.web_sales w JOIN tpcds.item ON i_item_sk = w.ws_item_sk
WHERE i_manufact_id < 300
  AND w.ws_ext_discount_amt > (SELECT 1.3 * avg(CAST(v.ws_ext_discount_amt AS DOUBLE)) FROM tpcds.web_sales v WHERE v.ws_item_sk = w.ws_item_sk);

-- name: not_in_with_nulls
SELECT count(*) AS customers FROM tpcds.customer
WHERE c_customer_sk NOT IN (SELECT ws_bill_customer_sk FROM tpcds.web_sales WHERE ws_bill_customer_sk IS NOT NULL)
  AND (c_customer_sk NOT IN (SELECT sr_customer_sk FROM tpcds.store_returns) OR c_birth_year > 1980);

-- name: scalar_subqueries_as_buckets
SELECT r_reason_sk,
       CASE WHEN (SELECT count(*) FROM tpcds.store_sales WHERE ss_quantity BETWEEN 1 AND 20) > 20000
            THEN (SELECT sum(ss_ext_discount_amt) FROM tpcds.store_sales WHERE ss_quantity BETWEEN 1 AND 20)
            ELSE (SELECT sum(ss_net_paid) FROM tpcds.store_sales WHERE ss_quantity BETWEEN 1 AND 20) END AS bucket
FROM tpcds.reason WHERE r_reason_sk = 1;

-- name: a_scalar_subquery_in_the_select_list
SELECT i_item_id, (SELECT count(*) FROM tpcds.web_sales WHERE ws_item_sk = i_item_sk AND ws_quantity > 50) AS big_orders,
       (SELECT max(ss_sales_price) FROM tpcds.store_sales WHERE ss_item_sk = i_item_sk) AS dearest
FROM tpcds.item
WHERE i_item_sk % 97 = 0
ORDER BY i_item_id, big_orders, dearest;

-- name: nested_twice
SELECT c_customer_id FROM tpcds.customer c
WHERE c_customer_sk IN (
  SELECT ss_customer_sk FROM tpcds.store_sales s
  WHERE s.ss_item_sk IN (SELECT i_item_sk FROM tpcds.item i
                         WHERE i.i_current_price > (SELECT avg(CAST(j.i_current_price AS DOUBLE)) * 4 FROM tpcds.item j WHERE j.i_class = i.i_class))
    AND s.ss_quantity > (SELECT avg(t.ss_quantity) FROM tpcds.store_sales t WHERE t.ss_customer_sk = c.c_customer_sk))
ORDER BY c_customer_id
LIMIT 40;

-- name: lateral_best_of_each
SELECT c.c_customer_id, best.ss_ticket_number, best.paid
FROM tpcds.customer c,
     LATERAL (SELECT ss_ticket_number, sum(ss_net_paid) AS paid FROM tpcds.store_sales WHERE ss_customer_sk = c.c_customer_sk
              GROUP BY ss_ticket_number ORDER BY paid DESC NULLS LAST, ss_ticket_number LIMIT 2) best
WHERE c.c_customer_sk <= 30
ORDER BY c.c_customer_id, best.paid DESC NULLS LAST, best.ss_ticket_number;

-- name: all_and_any
SELECT i_category, count(*) AS items FROM tpcds.item i
WHERE i_current_price >= ALL (SELECT j.i_current_price FROM tpcds.item j WHERE j.i_class = i.i_class AND j.i_current_price IS NOT NULL)
  AND i_wholesale_cost > ANY (SELECT ws_list_price FROM tpcds.web_sales WHERE ws_item_sk = i.i_item_sk)
GROUP BY i_category
ORDER BY i_category NULLS LAST;

-- name: a_correlated_inequality
SELECT d_year, count(*) AS days
FROM tpcds.date_dim d
WHERE d_year BETWEEN 1996 AND 2002
  AND (SELECT count(*) FROM tpcds.item i WHERE i.i_rec_start_date <= d.d_date AND i.i_rec_end_date >= d.d_date AND i.i_item_sk < 200) > 30
GROUP BY d_year
ORDER BY d_year;

-- name: recursive_chain_of_dates
WITH RECURSIVE chain AS (
  SELECT d_date_sk, d_same_day_ly, d_date, 0 AS steps FROM tpcds.date_dim WHERE d_date = DATE '2002-06-01'
  UNION ALL
  SELECT d.d_date_sk, d.d_same_day_ly, d.d_date, steps + 1 FROM chain JOIN tpcds.date_dim d ON d.d_date_sk = chain.d_same_day_ly WHERE steps < 6)
SELECT d_date, steps, (SELECT count(*) FROM tpcds.store_sales WHERE ss_sold_date_sk = chain.d_date_sk) AS lines
FROM chain ORDER BY steps;
