-- Subtotals: ROLLUP, CUBE, GROUPING SETS, GROUPING, and windows over them.

-- name: rollup_over_three_channels
WITH all_sales AS (
  SELECT 'store' AS channel, ss_item_sk AS item, ss_ext_sales_price AS sales, ss_net_profit AS profit FROM tpcds.store_sales
  UNION ALL
  SELECT 'catalog', cs_item_sk, cs_ext_sales_price, cs_net_profit FROM tpcds.catalog_sales
  UNION ALL
  SELECT 'web', ws_item_sk, ws_ext_sales_price, ws_net_profit FROM tpcds.web_sales)
SELECT channel, i_category, sum(sales) AS sales, sum(profit) AS profit, count(*) AS lines
FROM all_sales JOIN tpcds.item ON item = i_item_sk
GROUP BY ROLLUP (channel, i_category)
ORDER BY channel NULLS FIRST, i_category NULLS FIRST, lines;

-- name: cube_with_grouping
SELECT d_qoy, s_store_id, grouping(d_qoy) AS all_quarters, grouping(s_store_id) AS all_stores, sum(ss_net_paid) AS paid
FROM tpcds.store_sales JOIN tpcds.date_dim ON ss_sold_date_sk = d_date_sk JOIN tpcds.store ON ss_store_sk = s_store_sk
WHERE d_year = 1999
GROUP BY CUBE (d_qoy, s_store_id)
ORDER BY all_quarters, all_stores, d_qoy, s_store_id;

-- name: grouping_sets_by_hand
SELECT i_category, i_class, d_year, sum(ws_ext_sales_price) AS sales
FROM tpcds.web_sales JOIN tpcds.item ON ws_item_sk = i_item_sk JOIN tpcds.date_dim ON ws_sold_date_sk = d_date_sk
WHERE i_category IN ('Music', 'Books', 'Sports') AND i_class IS NOT NULL
GROUP BY GROUPING SETS ((i_category, i_class), (i_category, d_year), (d_year), ())
ORDER BY i_category NULLS FIRST, i_class NULLS FIRST, d_year NULLS FIRST;

-- name: rank_within_a_rollup
SELECT sum(ss_net_profit) AS profit, i_category, i_class, grouping(i_category) + grouping(i_class) AS level,
       rank() OVER (PARTITION BY grouping(i_category) + grouping(i_class),
                                 CASE WHEN grouping(i_class) = 0 THEN i_category END
                    ORDER BY sum(ss_net_profit) DESC) AS place
FROM tpcds.store_sales JOIN tpcds.item ON i_item_sk = ss_item_sk
GROUP BY ROLLUP (i_category, i_class)
ORDER BY level DESC, i_category NULLS LAST, place, i_class NULLS LAST;

-- name: ratio_to_the_level_above
SELECT i_category, i_class, sum(cs_net_paid) AS paid,
       round(CAST(sum(cs_net_paid) AS DOUBLE) / sum(sum(cs_net_paid)) OVER (PARTITION BY i_category), 9) AS share
FROM tpcds.catalog_sales JOIN tpcds.item ON i_item_sk = cs_item_sk
WHERE i_category IS NOT NULL
GROUP BY i_category, i_class
ORDER BY i_category, i_class NULLS LAST;

-- name: rollup_with_having_on_a_level
SELECT d_year, d_qoy, d_moy, count(*) AS lines
FROM tpcds.web_sales JOIN tpcds.date_dim ON ws_sold_date_sk = d_date_sk
GROUP BY ROLLUP (d_year, d_qoy, d_moy)
HAVING grouping(d_moy) = 1
ORDER BY d_year NULLS FIRST, d_qoy NULLS FIRST;

-- name: distinct_counts_by_grouping_sets
SELECT cd_gender, cd_education_status, count(DISTINCT ws_bill_customer_sk) AS buyers, count(DISTINCT ws_item_sk) AS items
FROM tpcds.web_sales JOIN tpcds.customer_demographics ON cd_demo_sk = ws_bill_cdemo_sk
GROUP BY GROUPING SETS ((cd_gender), (cd_education_status), ())
ORDER BY cd_gender NULLS LAST, cd_education_status NULLS LAST;

-- name: rollup_of_expressions
SELECT d_year // 2 * 2 AS since, d_weekend = 'Y' AS weekend, sum(ss_quantity) AS pieces
FROM tpcds.store_sales JOIN tpcds.date_dim ON ss_sold_date_sk = d_date_sk
GROUP BY ROLLUP (d_year // 2 * 2, d_weekend = 'Y')
ORDER BY since NULLS FIRST, weekend NULLS FIRST;
