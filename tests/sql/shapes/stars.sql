-- Star joins: one or several facts, joined to their dimensions.

-- name: one_fact_three_dimensions
SELECT d.d_year, i.i_category, count(*) AS lines, sum(ss.ss_ext_sales_price) AS sales
FROM tpcds.store_sales ss
JOIN tpcds.date_dim d ON ss.ss_sold_date_sk = d.d_date_sk
JOIN tpcds.item i ON ss.ss_item_sk = i.i_item_sk
JOIN tpcds.store s ON ss.ss_store_sk = s.s_store_sk
WHERE d.d_moy = 11 AND i.i_category IS NOT NULL
GROUP BY d.d_year, i.i_category
ORDER BY d.d_year, i.i_category;

-- name: comma_joins_with_a_filter_per_dimension
SELECT i_brand_id, i_brand, sum(ss_ext_sales_price) AS sales
FROM tpcds.date_dim, tpcds.store_sales, tpcds.item
WHERE d_date_sk = ss_sold_date_sk AND ss_item_sk = i_item_sk AND i_manager_id < 10 AND d_moy = 12 AND d_year = 2000
GROUP BY i_brand, i_brand_id
ORDER BY sales DESC, i_brand_id, i_brand
LIMIT 20;

-- name: demographics_and_promotion_averages
SELECT i_item_id, avg(ss_quantity) AS quantity, sum(ss_coupon_amt) AS coupons, min(ss_sales_price) AS cheapest
FROM tpcds.store_sales, tpcds.customer_demographics, tpcds.date_dim, tpcds.item, tpcds.promotion
WHERE ss_sold_date_sk = d_date_sk AND ss_item_sk = i_item_sk AND ss_cdemo_sk = cd_demo_sk AND ss_promo_sk = p_promo_sk
  AND cd_gender = 'F' AND cd_marital_status IN ('M', 'S') AND (p_channel_email = 'N' OR p_channel_event = 'N') AND d_year BETWEEN 1999 AND 2001
GROUP BY i_item_id
ORDER BY i_item_id
LIMIT 50;

-- name: a_sale_its_return_and_the_next_order
SELECT i.i_item_id, count(*) AS chains, sum(ss.ss_quantity) AS bought, sum(sr.sr_return_quantity) AS returned,
       sum(cs.cs_quantity) AS ordered
FROM tpcds.store_sales ss
JOIN tpcds.store_returns sr ON sr.sr_customer_sk = ss.ss_customer_sk AND sr.sr_item_sk = ss.ss_item_sk
                           AND sr.sr_ticket_number = ss.ss_ticket_number
JOIN tpcds.catalog_sales cs ON cs.cs_bill_customer_sk = sr.sr_customer_sk
JOIN tpcds.item i ON i.i_item_sk = ss.ss_item_sk
JOIN tpcds.date_dim d ON d.d_date_sk = ss.ss_sold_date_sk AND d.d_quarter_name = '2000Q1'
GROUP BY i.i_item_id
ORDER BY chains DESC, i.i_item_id
LIMIT 25;

-- name: three_channels_side_by_side
WITH ss AS (SELECT i_item_id, sum(ss_ext_sales_price) AS amount FROM tpcds.store_sales JOIN tpcds.item ON ss_item_sk = i_item_sk
            JOIN tpcds.date_dim ON ss_sold_date_sk = d_date_sk WHERE d_year = 2001 GROUP BY i_item_id),
     cs AS (SELECT i_item_id, sum(cs_ext_sales_price) AS amount FROM tpcds.catalog_sales JOIN tpcds.item ON cs_item_sk = i_item_sk
            JOIN tpcds.date_dim ON cs_sold_date_sk = d_date_sk WHERE d_year = 2001 GROUP BY i_item_id),
     ws AS (SELECT i_item_id, sum(ws_ext_sales_price) AS amount FROM tpcds.web_sales JOIN tpcds.item ON ws_item_sk = i_item_sk
            JOIN tpcds.date_dim ON ws_sold_date_sk = d_date_sk WHERE d_year = 2001 GROUP BY i_item_id)
SELECT ss.i_item_id, ss.amount AS store, cs.amount AS catalog, ws.amount AS web, ss.amount + cs.amount + ws.amount AS total
FROM ss JOIN cs USING (i_item_id) JOIN ws USING (i_item_id)
WHERE ss.amount BETWEEN 0.2 * cs.amount AND 5 * cs.amount
ORDER BY total DESC, ss.i_item_id
LIMIT 40;

-- name: two_facts_by_a_full_join
WITH sold AS (SELECT ss_item_sk AS item, sum(ss_net_profit) AS profit FROM tpcds.store_sales GROUP BY ss_item_sk),
     back AS (SELECT sr_item_sk AS item, sum(sr_net_loss) AS loss FROM tpcds.store_returns GROUP BY sr_item_sk)
SELECT item, sold.profit, back.loss, coalesce(sold.profit, 0) - coalesce(back.loss, 0) AS net
FROM sold FULL JOIN back USING (item)
ORDER BY net, item
LIMIT 30;

-- name: ship_delays_as_a_cross_table
SELECT sm_type, substr(cc_name, 1, 20) AS center,
       sum(CASE WHEN cs_ship_date_sk - cs_sold_date_sk <= 30 THEN 1 ELSE 0 END) AS days_30,
       sum(CASE WHEN cs_ship_date_sk - cs_sold_date_sk BETWEEN 31 AND 60 THEN 1 ELSE 0 END) AS days_60,
       sum(CASE WHEN cs_ship_date_sk - cs_sold_date_sk > 60 THEN 1 ELSE 0 END) AS later
FROM tpcds.catalog_sales, tpcds.ship_mode, tpcds.call_center, tpcds.date_dim
WHERE cs_ship_date_sk = d_date_sk AND cs_ship_mode_sk = sm_ship_mode_sk AND cs_call_center_sk = cc_call_center_sk AND d_month_seq > 1190
GROUP BY sm_type, substr(cc_name, 1, 20)
ORDER BY sm_type, center;

-- name: sales_by_weekday
SELECT s_store_id, s_store_name,
       sum(ss_sales_price) FILTER (WHERE d_day_name = 'Sunday') AS sunday,
       sum(ss_sales_price) FILTER (WHERE d_day_name = 'Monday') AS monday,
       sum(ss_sales_price) FILTER (WHERE d_day_name = 'Saturday') AS saturday,
       count(DISTINCT ss_ticket_number) FILTER (WHERE d_weekend = 'Y') AS weekend_tickets
FROM tpcds.store_sales JOIN tpcds.date_dim ON d_date_sk = ss_sold_date_sk JOIN tpcds.store ON s_store_sk = ss_store_sk
GROUP BY ALL
ORDER BY ALL;

-- name: a_dimension_twice
SELECT bought.d_year AS sold, back.d_year AS returned, count(*) AS lines, sum(sr_return_amt) AS amount
FROM tpcds.store_sales
JOIN tpcds.store_returns ON ss_ticket_number = sr_ticket_number AND ss_item_sk = sr_item_sk
JOIN tpcds.date_dim bought ON bought.d_date_sk = ss_sold_date_sk
JOIN tpcds.date_dim back ON back.d_date_sk = sr_returned_date_sk
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: inequality_beside_the_star
SELECT w_warehouse_name, i_item_id,
       sum(CASE WHEN d_date < DATE '2000-03-11' THEN inv_quantity_on_hand ELSE 0 END) AS before,
       sum(CASE WHEN d_date >= DATE '2000-03-11' THEN inv_quantity_on_hand ELSE 0 END) AS after
FROM tpcds.inventory, tpcds.warehouse, tpcds.item, tpcds.date_dim
WHERE i_current_price BETWEEN 0.99 AND 3.49 AND i_item_sk = inv_item_sk AND inv_warehouse_sk = w_warehouse_sk AND inv_date_sk = d_date_sk
  AND d_date BETWEEN DATE '2000-03-11' - INTERVAL '30 days' AND DATE '2000-03-11' + INTERVAL '30 days'
GROUP BY w_warehouse_name, i_item_id
HAVING sum(CASE WHEN d_date < DATE '2000-03-11' THEN inv_quantity_on_hand ELSE 0 END) > 0
ORDER BY w_warehouse_name NULLS FIRST, i_item_id
LIMIT 60;
