-- Set operations between channels.

-- name: customers_of_all_three_channels
SELECT count(*) AS customers FROM (
  SELECT DISTINCT c_last_name, c_first_name, d_date FROM tpcds.store_sales, tpcds.date_dim, tpcds.customer
  WHERE ss_sold_date_sk = d_date_sk AND ss_customer_sk = c_customer_sk AND d_year IN (2000, 2001)
  INTERSECT
  SELECT DISTINCT c_last_name, c_first_name, d_date FROM tpcds.catalog_sales, tpcds.date_dim, tpcds.customer
  WHERE cs_sold_date_sk = d_date_sk AND cs_bill_customer_sk = c_customer_sk AND d_year IN (2000, 2001)) hot;

-- name: stores_but_not_the_web
SELECT i_item_id FROM tpcds.store_sales JOIN tpcds.item ON ss_item_sk = i_item_sk WHERE ss_quantity > 90
EXCEPT
SELECT i_item_id FROM tpcds.web_sales JOIN tpcds.item ON ws_item_sk = i_item_sk WHERE ws_quantity > 60
ORDER BY i_item_id;

-- name: bags_that_count
SELECT d_year, d_qoy FROM tpcds.store_returns JOIN tpcds.date_dim ON sr_returned_date_sk = d_date_sk WHERE sr_return_quantity > 60
INTERSECT ALL
SELECT d_year, d_qoy FROM tpcds.web_returns JOIN tpcds.date_dim ON wr_returned_date_sk = d_date_sk
ORDER BY d_year, d_qoy;

-- name: bag_difference
SELECT i_category FROM tpcds.item EXCEPT ALL SELECT i_category FROM tpcds.item WHERE i_current_price < 5
ORDER BY i_category NULLS FIRST;

-- name: chained_operations_bind_as_the_standard_says
SELECT d_year FROM tpcds.date_dim WHERE d_year BETWEEN 1998 AND 2003
UNION
SELECT d_year FROM tpcds.date_dim WHERE d_year > 2090
INTERSECT
SELECT d_year FROM tpcds.date_dim WHERE d_year < 2095
EXCEPT
SELECT 2000
ORDER BY d_year;

-- name: brands_of_every_channel_with_their_sums
WITH both_channels AS (
  SELECT i_brand_id, i_class_id FROM tpcds.store_sales JOIN tpcds.item ON i_item_sk = ss_item_sk
  INTERSECT
  SELECT i_brand_id, i_class_id FROM tpcds.web_sales JOIN tpcds.item ON i_item_sk = ws_item_sk),
average AS (
  SELECT avg(CAST(q * p AS DOUBLE)) AS mean FROM (
    SELECT ss_quantity AS q, ss_list_price AS p FROM tpcds.store_sales UNION ALL SELECT ws_quantity, ws_list_price FROM tpcds.web_sales))
SELECT i_brand_id, sum(ss_quantity * ss_list_price) AS sales, count(*) AS lines
FROM tpcds.store_sales JOIN tpcds.item ON i_item_sk = ss_item_sk
WHERE (i_brand_id, i_class_id) IN (SELECT i_brand_id, i_class_id FROM both_channels)
GROUP BY i_brand_id
HAVING avg(CAST(ss_quantity * ss_list_price AS DOUBLE)) > (SELECT mean FROM average)
ORDER BY sales DESC, i_brand_id
LIMIT 30;

-- name: union_by_name_of_two_facts
SELECT channel, sum(quantity) AS pieces, count(loss) AS losses
FROM (SELECT 'sale' AS channel, ws_quantity AS quantity FROM tpcds.web_sales
      UNION ALL BY NAME
      SELECT wr_net_loss AS loss, 'return' AS channel, wr_return_quantity AS quantity FROM tpcds.web_returns)
GROUP BY channel
ORDER BY channel;

-- name: semi_and_anti_by_keyword
SELECT ca_state, count(*) AS customers
FROM tpcds.customer
SEMI JOIN tpcds.web_sales ON ws_bill_customer_sk = c_customer_sk
ANTI JOIN (SELECT DISTINCT cs_bill_customer_sk FROM tpcds.catalog_sales WHERE cs_quantity > 98) big ON cs_bill_customer_sk = c_customer_sk
JOIN tpcds.customer_address ON ca_address_sk = c_current_addr_sk
GROUP BY ca_state
ORDER BY customers DESC, ca_state NULLS LAST
LIMIT 20;
